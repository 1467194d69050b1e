"""`make reports` up to the pod that reads the claim, on a real API server; nothing there runs pods."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.apiserver import CONTEXT, ApiServer, running_apiserver
from tests.support.objects import assert_restricted
from workbench.cluster import reports
from workbench.cluster.context import Context
from workbench.paths import REPOSITORY, Paths
from workbench.shell import WorkbenchError

NAMESPACE: Final = "vllm-eval"
CLAIM: Final = {"name": "results", "persistentVolumeClaim": {"claimName": "vllm-eval-results"}}


def job(*, claim: bool = True) -> dict[str, Any]:
    """Return the Job in `k8s/`, with the claim that a stack gives it."""
    manifest: dict[str, Any] = yaml.safe_load((REPOSITORY / "k8s/evalchemy-job.yaml").read_text())
    manifest["metadata"]["namespace"] = NAMESPACE
    spec = manifest["spec"]["template"]["spec"]
    spec["serviceAccountName"] = "evalchemy"
    spec["tolerations"] = [{"key": "pool", "operator": "Exists"}]
    if claim:
        spec["volumes"] = [CLAIM if each["name"] == "results" else each for each in spec["volumes"]]
    return manifest


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_apiserver(tmp_path_factory.mktemp("server")) as running:
        running.kubectl("create", "namespace", NAMESPACE)
        running.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
        account = {"name": "evalchemy", "namespace": NAMESPACE}
        running.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
        yield running


@pytest.fixture
def context(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
    return Context(CONTEXT, "dev", Paths(tmp_path, "test"))


def test_a_cluster_without_an_evaluation_says_so(server: ApiServer, context: Context) -> None:
    with pytest.raises(WorkbenchError, match="the namespace vllm-eval has neither a Job nor a CronJob"):
        reports.evaluation_pod(context, NAMESPACE)
    server.apply(job(claim=False))
    with pytest.raises(WorkbenchError, match="has no claim for its results"):
        reports.evaluation_pod(context, NAMESPACE)


def test_the_pod_is_allowed_can_only_read_and_goes_whatever_happens(server: ApiServer, context: Context) -> None:
    server.apply(job())
    spec, node = reports.evaluation_pod(context, NAMESPACE)
    assert node is None
    made = reports.manifest("x", NAMESPACE, spec, node)["spec"]
    assert_restricted(made)
    assert {"name": "results", "mountPath": "/results", "readOnly": True} in made["containers"][0]["volumeMounts"]
    assert made["tolerations"] == spec["tolerations"]
    told = r"the pod vllm-eval-fetch-\w+ did not start within 1 s: the cluster has no event of it"
    with pytest.raises(WorkbenchError, match=told), reports.reading_pod(context, NAMESPACE, spec, node, seconds=1):
        pass
    assert json.loads(server.kubectl("-n", NAMESPACE, "get", "pods", "-o", "json"))["items"] == []


def test_it_goes_where_the_claim_is_held(server: ApiServer, context: Context) -> None:
    server.apply(job())
    holder = {**job()["spec"]["template"]["spec"], "nodeName": "node-7"}
    metadata = {"name": "evalchemy-0", "namespace": NAMESPACE}
    # The downward API asks for what the pod's template has.
    metadata["annotations"] = {"git-commit": "x", "vllm-eval/models": "[]"}  # type: ignore[assignment]
    server.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": holder})
    spec, node = reports.evaluation_pod(context, NAMESPACE)
    assert node == "node-7"
    made = reports.manifest("x", NAMESPACE, spec, node)["spec"]
    (term,) = made["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-7"]}]}
    started = reports.reading_pod(context, NAMESPACE, spec, node, seconds=1)
    with pytest.raises(WorkbenchError, match="did not start"), started:
        pass
