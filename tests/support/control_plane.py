"""A real control plane on loopback, without a node, in which Deployments become available nevertheless.

Two threads stand in for what is not there. `Node` reports every pod as running and ready, so that Deployments become
available. `ArgoCD` does what the stack's order rests on: it finishes an Application's deletion as long as
its own workload exists. The real Argo CD's behaviour is the end-to-end suite's.
"""

import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support import live
from tests.support.apiserver import CONTEXT, running_apiserver
from workbench.toolchain.tools import module_source

__all__ = ["CONTEXT", "ControlPlane", "control_plane", "wait_for"]

MERGE: Final = "application/merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"
VOLUMES: Final = 30
APPLICATIONS: Final = "/apis/argoproj.io/v1alpha1/applications"
CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OPERATOR_CRDS: Final = (
    "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    "example/prometheus-operator-crd/monitoring.coreos.com_alertmanagerconfigs.yaml",
)
# Every kind that a stack, its chart or what they start may leave behind.
KINDS: Final = (
    *("/api/v1/namespaces", "/api/v1/secrets", "/api/v1/configmaps", "/api/v1/serviceaccounts"),
    *("/api/v1/persistentvolumeclaims", "/api/v1/services", "/api/v1/pods", "/apis/apps/v1/deployments"),
    *("/apis/apps/v1/statefulsets", "/apis/apps/v1/replicasets", "/apis/batch/v1/jobs", "/apis/batch/v1/cronjobs"),
    *("/apis/networking.k8s.io/v1/networkpolicies", "/apis/rbac.authorization.k8s.io/v1/clusterroles"),
    *("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "/apis/rbac.authorization.k8s.io/v1/roles"),
    *("/apis/rbac.authorization.k8s.io/v1/rolebindings", CRDS),
    *("/apis/argoproj.io/v1alpha1/applications", "/apis/argoproj.io/v1alpha1/appprojects"),
    *("/apis/monitoring.coreos.com/v1/prometheusrules", "/apis/monitoring.coreos.com/v1/servicemonitors"),
    "/apis/monitoring.coreos.com/v1alpha1/alertmanagerconfigs",
)


class Api:
    """The API server, asked as its administrator."""

    def __init__(self, url: str, token: str, authority: Path) -> None:
        self.url = url
        self.token = token
        self._authority = authority

    def request(self, method: str, path: str, body: object = None, kind: str = "application/json") -> Any:  # noqa: ANN401
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)  # noqa: S310 (loopback)
        trust = ssl.create_default_context(cafile=str(self._authority))
        with urllib.request.urlopen(request, timeout=10, context=trust) as answer:  # noqa: S310 (loopback)
            return json.load(answer)

    def get(self, path: str) -> Any:  # noqa: ANN401 (JSON)
        """Return an object, or None if there is none."""
        try:
            return self.request("GET", path)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                raise

    def items(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (self.get(path) or {"items": []})["items"]
        return found

    def apply(self, path: str, body: object) -> None:
        self.request("PATCH", f"{path}?fieldManager=test&force=true", body, APPLY)


class _Worker:
    """Calls `step` again and again until the end; what it raises is kept for the test."""

    def __init__(self, step: Callable[[], None]) -> None:
        self._step, self._stop = step, threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "_Worker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=20)

    def _run(self) -> None:
        while not self._stop.wait(0.3):
            try:
                self._step()
            except (OSError, urllib.error.URLError) as error:
                self.error = error  # the server may be busy; a lasting fault shows in what the test waits for


class Node:
    """Reports pods as running and ready."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def step(self) -> None:
        ready = [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady", "Initialized")]
        for pod in self._api.items("/api/v1/pods"):
            if pod["status"].get("phase") == "Pending" and "deletionTimestamp" not in pod["metadata"]:
                path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}/status"
                with suppress(urllib.error.HTTPError):
                    self._api.request("PATCH", path, {"status": {"phase": "Running", "conditions": ready}}, MERGE)
            elif "deletionTimestamp" in pod["metadata"]:
                path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
                with suppress(urllib.error.HTTPError):
                    self._api.request("DELETE", path, {"gracePeriodSeconds": 0})


class ArgoCD:
    """Finishes the deletion of Applications, and prunes the Job, while an Argo CD is installed."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.finished: list[str] = []

    def step(self) -> None:
        for application in self._api.items(APPLICATIONS):
            metadata = application["metadata"]
            workload = f"/apis/apps/v1/namespaces/{metadata['namespace']}/statefulsets/argocd-application-controller"
            if self._api.get(workload) is None:
                continue
            namespace = application["spec"]["destination"]["namespace"]
            if "deletionTimestamp" not in metadata:
                self._prune(application["spec"]["source"], namespace)
                continue
            for kind, name in (("jobs", "evalchemy"), ("cronjobs", "evalchemy-nightly")):
                with suppress(urllib.error.HTTPError):
                    self._api.request(
                        "DELETE",
                        f"/apis/batch/v1/namespaces/{namespace}/{kind}/{name}",
                        {"propagationPolicy": "Background"},
                    )
            path = f"/apis/argoproj.io/v1alpha1/namespaces/{metadata['namespace']}/applications/{metadata['name']}"
            self._api.request("PATCH", path, {"metadata": {"finalizers": None}}, MERGE)
            self.finished.append(metadata["name"])

    def _prune(self, source: dict[str, Any], namespace: str) -> None:
        """Delete a Job that was synced, and that the patches keep from being emitted any more."""
        path = f"/apis/batch/v1/namespaces/{namespace}/jobs/evalchemy"
        live = self._api.get(path) if "config.kubernetes.io/local-config" in str(source) else None
        if live is not None and live["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") != "pulumi":
            with suppress(urllib.error.HTTPError):
                self._api.request("DELETE", path, {"propagationPolicy": "Background"})


class ControlPlane:
    """A running control plane."""

    def __init__(self, api: Api, kubeconfig: Path, argocd: ArgoCD) -> None:
        self.api, self.kubeconfig, self.argocd = api, kubeconfig, argocd

    def snapshot(self) -> set[str]:
        """Return the name of every object that is there."""
        return {
            f"{kind.rsplit('/', 1)[-1]} {each['metadata'].get('namespace', '')}/{each['metadata']['name']}"
            for kind in KINDS
            for each in self.api.items(kind)
        }

    def contents(self) -> live.Contents:
        """Return what is there, without what controllers report and count."""
        return live.contents(answer for kind in KINDS if (answer := self.api.get(kind)) is not None)

    def delete_argocds_kinds(self) -> None:
        """Make this a cluster that has never had an Argo CD."""
        names = [each["metadata"]["name"] for each in self.api.items(CRDS)]
        for path in [f"{CRDS}/{name}" for name in names if name.endswith(".argoproj.io")]:
            self.api.request("DELETE", path)
            wait_for(f"the end of {path}", partial(self._is_gone, path))

    def _is_gone(self, path: str) -> bool:
        return self.api.get(path) is None

    def add_context(self, name: str) -> None:
        """Give the cluster a second context."""
        config = yaml.safe_load(self.kubeconfig.read_text())
        config["contexts"].append({**config["contexts"][0], "name": name})
        self.kubeconfig.write_text(yaml.safe_dump(config))

    def offer_volumes(self, *classes: str) -> None:
        """Offer volumes of these classes, and the first as the default: claims bind, and may grow."""
        for name in classes:
            is_default = {"storageclass.kubernetes.io/is-default-class": str(name == classes[0]).lower()}
            storage = {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": name, "annotations": is_default},
                "provisioner": "kubernetes.io/no-provisioner",
                "allowVolumeExpansion": True,
            }
            self.api.apply(f"/apis/storage.k8s.io/v1/storageclasses/{name}", storage)
            for number in range(VOLUMES):
                volume = {
                    "apiVersion": "v1",
                    "kind": "PersistentVolume",
                    "metadata": {"name": f"{name}-{number}"},
                    "spec": {
                        "capacity": {"storage": "50Gi"},
                        "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
                        "storageClassName": name,
                        "hostPath": {"path": f"/nowhere/{name}-{number}"},
                    },
                }
                self.api.apply(f"/api/v1/persistentvolumes/{name}-{number}", volume)


@contextmanager
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    """Start everything below `folder` and stop it at the end."""
    with running_apiserver(folder, controllers=True) as server, ExitStack() as stack:
        api = Api(server.url, server.token, server.authority)
        _install_crds(api)
        argocd = ArgoCD(api)
        stack.enter_context(_Worker(Node(api).step))
        stack.enter_context(_Worker(argocd.step))
        yield ControlPlane(api, _without_current_context(server.kubeconfig), argocd)


def _without_current_context(kubeconfig: Path) -> Path:
    """Return a copy that has no current context: a stack must not need one."""
    config = yaml.safe_load(kubeconfig.read_text())
    del config["current-context"]
    path = kubeconfig.with_name("kubeconfig-of-the-stack")
    path.write_text(yaml.safe_dump(config))
    return path


class _Definitions(yaml.SafeLoader):
    """Reads a bare `=`, a kind of matcher, as a text, as Kubernetes does."""


_Definitions.add_constructor("tag:yaml.org,2002:value", lambda _, node: str(node.value))


def _install_crds(api: Api) -> None:
    """Install the Prometheus Operator's; Argo CD's come with its chart."""
    for file in OPERATOR_CRDS:
        crd = yaml.load((module_source("prometheus-operator") / file).read_text(), _Definitions)  # noqa: S506 (a safe one)
        path = f"{CRDS}/{crd['metadata']['name']}"
        api.apply(path, crd)
        wait_for(path, partial(_established, api, path))


def _established(api: Api, path: str) -> bool:
    return "Established" in str(api.get(path)["status"]["conditions"])


def wait_for(what: str, probe: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with suppress(OSError, urllib.error.URLError):
            if probe():
                return
        assert time.monotonic() < deadline, f"{what} was not there within {seconds} s"
        time.sleep(0.2)
