"""What `make doctor` says of rights, Argo CD, storage, network and models, on a real API server."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from components.settings.stack_file import needs
from tests.support import program
from tests.support.apiserver import CONTEXT, ApiServer, running_apiserver
from tests.support.clusters import namespace
from tests.support.ports import own_address
from tests.support.serving import Answer, Asked, answering
from workbench.cluster import reach, surroundings
from workbench.cluster.context import Context
from workbench.paths import Paths

LABELS: Final = {"app.kubernetes.io/name": "gemma"}
CONTROLLER: Final = "argocd-application-controller"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_apiserver(tmp_path_factory.mktemp("server")) as running:
        running.apply(*(namespace(each) for each in ("argocd", "vllm-eval", "serving")))
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": "serving"},
        }
        running.apply(account)
        yield running


@pytest.fixture(autouse=True)
def kubeconfig(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubeconfig with the administrator's context, and one of somebody who may only look at one namespace."""
    config = yaml.safe_load(server.kubeconfig.read_text())
    config["users"].append({"name": "dev", "user": {**config["users"][0]["user"], "as": "dev"}})
    config["contexts"].append({"name": "dev", "context": {"cluster": "c", "user": "dev"}})
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(file))
    return file


def look(tmp_path: Path, context: str = CONTEXT, **groups: Any) -> reach.Told:  # noqa: ANN401 (settings)
    base = {**program.stack_file("prod"), "argocd": {"install": False}}
    asked = json.loads(json.dumps(needs(program.load({**base, **groups}, stack="prod"))))
    runner = Context(context, "prod", Paths(tmp_path, "test"))
    return surroundings.look(runner, runner, "prod", asked)


def test_what_an_account_may_not_is_one_list_for_each_namespace(server: ApiServer, tmp_path: Path) -> None:
    assert [each for each in look(tmp_path).faults if "may not" in each] == []
    server.kubectl("create", "role", "most", "--namespace=vllm-eval", "--verb=*", "--resource=secrets,configmaps")
    server.kubectl("create", "rolebinding", "most", "--namespace=vllm-eval", "--role=most", "--user=dev")
    before = server.kubectl("get", "all,events,secrets", "-A", "-o", "yaml")
    told = look(tmp_path, "dev")
    whole, own, argocd = told.faults
    assert whole.startswith("this account may not, in the whole cluster: get, create, patch, delete namespaces.")
    assert "in the namespace vllm-eval: get, create, patch, delete serviceaccounts; " in own
    assert "get, create, patch, delete networkpolicies.networking.k8s.io" in own
    assert "secrets" not in own
    assert "in the namespace argocd: get, create, patch, delete applications.argoproj.io" in argocd
    # What it may not read either is said, and no fault.
    assert any(each.startswith("Argo CD could not be looked at: Error from server (Forbidden)") for each in told.notes)
    assert server.kubectl("get", "all,events,secrets", "-A", "-o", "yaml") == before


def pods_of(image: str, **container: object) -> dict[str, Any]:
    spec = {"containers": [{"name": "main", "image": image, **container}]}
    return {"selector": {"matchLabels": {"app": "a"}}, "template": {"metadata": {"labels": {"app": "a"}}, "spec": spec}}


def test_argo_cd_is_new_enough_and_waits_after_a_sync(server: ApiServer, tmp_path: Path) -> None:
    assert any("no version of Argo CD in the namespace argocd is known" in each for each in look(tmp_path).notes)
    meta = {"name": CONTROLLER, "namespace": "argocd"}
    for version, faults in (("v3.2.11", 1), ("v3.4.4", 0)):
        spec = {**pods_of(f"quay.io/argoproj/argocd:{version}"), "serviceName": CONTROLLER}
        server.apply({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "spec": spec})
        told = look(tmp_path)
        assert len([each for each in told.faults if f"is {version}: before 3.3" in each]) == faults
    (note,) = [each for each in told.notes if "self-heal" in each]
    assert 'set controller.self.heal.timeout.seconds: "30", controller.self.heal.backoff.timeout.seconds: "0"' in note
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "data": dict(surroundings.PACE)}
    server.apply({**settings, "metadata": {"name": "argocd-cmd-params-cm", "namespace": "argocd"}})
    assert [each for each in look(tmp_path).notes if "self-heal" in each] == []


def test_who_enforces_network_policies(server: ApiServer, tmp_path: Path) -> None:
    def notes() -> int:
        return len([each for each in look(tmp_path).notes if "enforces NetworkPolicies" in each])

    assert notes() == 1
    for name, container, expected in (
        ("kube-flannel", {"name": "kube-flannel"}, 1),
        ("aws-node", {"name": "aws-eks-nodeagent", "args": ["--enable-network-policy=false"]}, 1),
        ("aws-node", {"name": "aws-eks-nodeagent", "args": ["--enable-network-policy=true"]}, 0),
        ("calico-node", {"name": "calico-node"}, 0),
    ):
        meta = {"name": name, "namespace": "kube-system"}
        server.apply(
            {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta, "spec": pods_of("i", **container)}
        )
        assert notes() == expected
        server.kubectl("delete", "daemonset", name, "--namespace=kube-system", "--cascade=background")


def test_a_disk_of_one_node_is_no_claim_of_many(server: ApiServer, tmp_path: Path) -> None:
    for name, provisioner in (("gp3", "ebs.csi.aws.com"), ("efs", "efs.csi.aws.com")):
        meta = {
            "name": name,
            "annotations": {"storageclass.kubernetes.io/is-default-class": str(name == "gp3").lower()},
        }
        server.apply(
            {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": meta, "provisioner": provisioner}
        )

    def faults(**results: str) -> list[str]:
        told = look(tmp_path, evaluation={"results": results})
        return [each for each in told.faults if "ReadWriteMany" in each]

    (fault,) = faults(access_mode="ReadWriteMany")
    assert fault.startswith("evaluation.results.storage_class is 'gp3', whose ebs.csi.aws.com provisions volumes")
    assert (
        "(others: efs): pulumi config set --stack prod --path 'vllm-eval:evaluation.results.storage_class' NAME"
        in fault
    )
    assert faults(access_mode="ReadWriteMany", storage_class="efs") == []
    assert faults() == []


@contextmanager
def served(name: str) -> Iterator[int]:
    """Be a model's server on an address that the API server forwards to."""

    def answer(asked: Asked) -> Answer:
        models = {"data": [{"id": name}]}
        return Answer(200 if asked.path.partition("?")[0] == "/v1/models" else 404, json.dumps(models).encode())

    with answering(answer, own_address()) as address:
        yield int(address.rpartition(":")[2])


def test_what_stands_behind_a_models_service(server: ApiServer, tmp_path: Path) -> None:
    model = {
        "name": "google/gemma-3-27b-it",
        "tag": "t",
        "endpoint": "http://gemma.serving.svc.cluster.local:8000/v1",
        "network": {"namespace": "serving", "labels": LABELS, "port": 8000},
    }

    def told(**network: object) -> reach.Told:
        found = look(tmp_path, models=[{**model, "network": {**model["network"], **network}}])  # type: ignore[dict-item] # a map
        return reach.Told(*([each for each in list_ if "models[0]" in each] for list_ in (found.faults, found.notes)))

    assert told().notes == ["models[0]: the Service serving/gemma is not there (yet)"]
    with served("gemma-3-27b-it") as port:
        meta = {"name": "gemma", "namespace": "serving"}
        ports = [{"name": "http", "port": 8000, "targetPort": port}]
        server.apply(
            {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": LABELS, "ports": ports}}
        )
        assert told().notes == ["models[0]: no pod is behind the Service serving/gemma (yet)"]

        host = own_address()
        container = {"name": "vllm", "image": "none"}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**meta, "labels": LABELS},
            "spec": {"containers": [container]},
        }
        server.apply(pod)
        status = json.dumps({"status": {"phase": "Running", "podIP": host, "podIPs": [{"ip": host}]}})
        server.kubectl(
            "patch", "pod", "gemma", "-nserving", "--subresource=status", "--type=merge", f"--patch={status}"
        )
        address = {"ip": host, "targetRef": {"kind": "Pod", **meta}}
        subsets = [{"addresses": [address], "ports": [{"name": "http", "port": port}]}]
        server.apply({"apiVersion": "v1", "kind": "Endpoints", "metadata": meta, "subsets": subsets})

        labels, leads, serves = told(labels={"app": "vllm"}).faults
        assert labels.startswith(
            'vllm-eval:models[0].network.labels is {"app": "vllm"}, but the pods behind serving/gemma'
        )
        assert '{"app.kubernetes.io/name": "gemma"}: the NetworkPolicy would keep the evaluation out' in labels
        assert f"leads to port {port} of its pods: pulumi config set --stack prod" in leads
        assert serves == "models[0]: serving/gemma serves gemma-3-27b-it, and not 'google/gemma-3-27b-it'"
        model["served_name"] = "gemma-3-27b-it"
        assert told(port=port) == reach.Told()
    (note,) = told(port=port).notes
    assert note.startswith("models[0]: serving/gemma does not tell its models: ")
