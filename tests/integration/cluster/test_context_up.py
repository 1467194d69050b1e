"""`make up CONTEXT=name` on a real API server by the real engine: from the checks to the table from Prometheus."""

import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import program
from tests.support.apiserver import ApiServer
from tests.support.clusters import install_operator_kinds, namespace, prometheus
from tests.support.control_plane import CONTEXT, ControlPlane, control_plane
from tests.support.monitoring import prometheus as local
from tests.support.ports import own_address
from tests.support.project import Project
from tests.support.pushgateway import running_pushgateway
from workbench.cluster import context, evaluation, needs, requests, stack
from workbench.cluster.context import Context
from workbench.cluster.requests import DeployRequest
from workbench.paths import Paths
from workbench.sandbox import chart
from workbench.shell import WorkbenchError

STANDINS = DeployRequest(standins=True)
SCRAPE_SECONDS = 4.0
PODS = "/api/v1/namespaces/vllm-eval/pods"
LABELS = 'stack="dev",model="google/gemma-3-270m",model_tag="dev",task="custom_task_1"'
SCORES = {
    "vllm_eval_exact_match": 0.8,
    "vllm_eval_exact_match_stderr": 0.02,
    "vllm_eval_samples": 50,
    "vllm_eval_samples_expected": 50,
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("cluster")) as running:
        server = ApiServer(running.api.url, running.api.token, Path(), running.kubeconfig.with_name("kubeconfig"))
        install_operator_kinds(server, "prometheuses")
        server.apply(namespace("monitoring"), prometheus())
        running.offer_volumes("standard")
        yield running


@pytest.fixture
def project(cluster: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A clone whose stack dev names another cluster, and a caller who is logged in to a backend of their own."""
    groups = program.stack_file("dev")
    groups["argocd"] = {"chart": str(chart.write(tmp_path))}
    folder = tmp_path / "clone"
    folder.mkdir()
    made = Project(folder, "dev", groups, cluster.kubeconfig)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    for module in (stack, context):
        monkeypatch.setattr(module, "REPOSITORY", folder)
    monkeypatch.setattr(requests, "check_evaluation", lambda _: None)  # test_refusals has it
    return made


def target(tmp_path: Path) -> Context:
    return Context(CONTEXT, "dev", Paths(tmp_path / "cache", "test"))


@contextmanager
def scraped_gateway(cluster: ControlPlane, folder: Path) -> Iterator[str]:
    """Run a real gateway, and a real Prometheus behind the Service that the operator would make."""
    with (
        running_pushgateway() as gateway,
        local.serve(folder, targets=[gateway.url.removeprefix("http://")], host=own_address()) as server,
    ):
        host, port = server.url.removeprefix("http://").split(":")
        ports = [{"name": "web", "port": int(port)}]
        name, path = "prometheus-operated", "/api/v1/namespaces/monitoring"
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": ports}}
        # The API server forwards to pods alone, at the address that their status has.
        container = {"name": "prometheus", "image": "none"}
        meta = {"name": "prometheus-main-0"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container]}}
        address = {"ip": host, "targetRef": {"kind": "Pod", "namespace": "monitoring", **meta}}
        subsets = [{"addresses": [address], "ports": ports}]
        endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name}, "subsets": subsets}
        cluster.api.apply(f"{path}/services/{name}", service)
        cluster.api.apply(f"{path}/pods/prometheus-main-0", pod)
        status = {"status": {"phase": "Running", "podIP": host, "podIPs": [{"ip": host}]}}
        cluster.api.request("PATCH", f"{path}/pods/prometheus-main-0/status", status, "application/merge-patch+json")
        cluster.api.apply(f"{path}/endpoints/{name}", endpoints)
        yield gateway.url


def end_the_job(cluster: ControlPlane, gateway: str, code: int) -> None:
    """Be the kubelet and the runner: let the Job's pod end when it runs; Prometheus has its scores a scrape later."""
    running: list[dict[str, Any]] = []
    while not running:
        time.sleep(0.3)
        with suppress(OSError):  # the server may be busy; what is waited for has its own time
            found = cluster.api.items(f"{PODS}?labelSelector=batch.kubernetes.io/job-name%3Devalchemy")
            running = [each for each in found if each["status"].get("phase") == "Running"]
            running = [each for each in running if "deletionTimestamp" not in each["metadata"]]
    ended = {"name": "evalchemy", "image": "", "imageID": "", "ready": False, "restartCount": 0}
    status = {
        "phase": "Failed" if code else "Succeeded",
        "containerStatuses": [{**ended, "state": {"terminated": {"exitCode": code}}}],
    }
    for pod in running:
        path = f"{PODS}/{pod['metadata']['name']}/status"
        cluster.api.request("PATCH", path, {"status": status}, "application/merge-patch+json")
    if code == 0:
        time.sleep(SCRAPE_SECONDS)
        push(gateway, "dev", "".join(f"{name}{{{LABELS}}} {value}\n" for name, value in SCORES.items()))


def push(gateway: str, of: str, text: str) -> None:
    """Put the series of a stack."""
    request = urllib.request.Request(f"{gateway}/metrics/job/vllm-eval/stack/{of}", text.encode(), method="PUT")  # noqa: S310 (loopback)
    with urllib.request.urlopen(request):  # noqa: S310 (loopback)
        pass


@contextmanager
def runner(cluster: ControlPlane, gateway: str, code: int) -> Iterator[None]:
    thread = threading.Thread(target=end_the_job, args=(cluster, gateway, code), daemon=True)
    thread.start()
    yield
    thread.join(timeout=60)
    assert not thread.is_alive()


def test_up_deploys_waits_and_prints_the_scores(
    cluster: ControlPlane, project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = project.file.read_text()
    assert f"context: {CONTEXT}" not in before
    with scraped_gateway(cluster, tmp_path) as gateway:
        push(gateway, "of-others", "vllm_eval_exact_match 1\n")  # newer than the Job's end with every scrape
        with runner(cluster, gateway, 2), pytest.raises(WorkbenchError, match="the evaluation failed: "):
            context.up(target(tmp_path), replace(STANDINS, limit="40"))
        with runner(cluster, gateway, 0):
            context.up(target(tmp_path), replace(STANDINS, limit="50"))
        cluster.add_context("renamed")
        deployed = project.state()
        with pytest.raises(WorkbenchError) as refused:
            context.up(Context("renamed", "dev", Paths(tmp_path / "cache", "test")), STANDINS)
        service = "http://vllm.serving.svc:8000/v1"
        with pytest.raises(WorkbenchError, match="the stack dev evaluates google/gemma-3-270m: with MODEL 'm' in"):
            context.up(target(tmp_path), replace(STANDINS, model="m", endpoint=service))
    text = str(refused.value)
    assert f"the stack dev is deployed to the cluster of context '{CONTEXT}', not to that of CONTEXT 'renamed'" in text
    assert "name another STACK, or first run `pulumi destroy --stack dev`" in text
    assert project.state() == deployed
    said = capsys.readouterr().out
    assert "Pulumi plugins: Kubernetes' built from its module, Python's our own" in said
    assert re.search(r"google/gemma-3-270m +dev +custom_task_1 +0\.800 ± 0\.020 +50/50", said)
    assert project.file.read_text() == before, "the caller's stack file is theirs"
    assert (target(tmp_path).logs / "pulumi-up.log").read_text()


def test_argo_cds_job_counts_once_it_is_the_updates_own(
    cluster: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    # Of a second stack of the cluster, which has names of its own.
    found = needs.Found("evaluations", "argocd", "argo", 60, None, application="second", hub=None)
    where = target(tmp_path)
    for name in ("evaluations", "argo"):
        cluster.api.apply(f"/api/v1/namespaces/{name}", {"apiVersion": "v1", "kind": "Namespace", **named(name)})
    assert context.pending(where, found, None) == "there is no Application yet"

    source = {"repoURL": "http://git/it.git", "path": "k8s", "kustomize": {"patches": [{"patch": "new"}]}}
    destination = {"server": "https://kubernetes.default.svc", "namespace": "evaluations"}
    path = "/apis/argoproj.io/v1alpha1/namespaces/argo/applications/second"

    job = evaluation.JobState("uid", "commit", "image", None, None)

    def says(sync: str, compared: dict[str, Any], operation: str = "Succeeded", **status: object) -> str:
        """Let Argo CD report, and return what is waited for."""
        compared_to = {"source": compared, "destination": destination}
        time_, full = "2026-01-01T00:00:00Z", {"operation": {}, "phase": operation, "message": "told"}
        body = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            **named("second"),
            "spec": {"project": "default", "source": source, "destination": destination},
            "status": {
                "sync": {"status": sync, "comparedTo": compared_to},
                "operationState": {**full, "startedAt": time_},
                **status,
            },
        }
        cluster.api.apply(path, body)
        return context.pending(where, found, None)

    condition = {"type": "ComparisonError", "message": "repository not found"}
    assert says("OutOfSync", source, conditions=[condition]) == "Argo CD: OutOfSync told repository not found"
    assert says("Synced", {**source, "path": "old"}) == "Argo CD: Synced told"
    assert says("Synced", source, "Running") == "Argo CD: Synced told"
    assert context.pending(where, found, job) == "Argo CD: Synced told", "a Job of before counts"
    assert says("Synced", source) == "there is no Job yet"
    assert context.pending(where, found, job) == ""


def named(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}}


def test_a_stack_that_is_not_there_is_named_before_anything_is_changed(
    cluster: ControlPlane, project: Project, tmp_path: Path
) -> None:
    before = cluster.snapshot()
    project.pulumi("stack", "rm", "--yes", "--force", "--preserve-config", "dev")
    with pytest.raises(WorkbenchError, match=r"the stack dev cannot be opened: .*no stack[\s\S]*pulumi stack init dev"):
        context.up(target(tmp_path), STANDINS)
    assert cluster.snapshot() == before
