"""What a production cluster has beside the stack, put into a test's API server."""

import time
from typing import Any, Final

from tests.support.apiserver import ApiServer
from workbench.toolchain.tools import module_source

KINDS: Final = ("alertmanagerconfigs", "alertmanagers", "prometheuses", "prometheusrules", "servicemonitors")
DEFAULT: Final = {"storageclass.kubernetes.io/is-default-class": "true"}


def install_operator_kinds(server: ApiServer, *kinds: str) -> None:
    """Install the Prometheus Operator's own definitions, all or those named."""
    folder = module_source("prometheus-operator") / "example/prometheus-operator-crd"
    for kind in kinds or KINDS:
        file = folder / f"monitoring.coreos.com_{kind}.yaml"
        server.kubectl("apply", "--server-side", f"--filename={file}")

    deadline = time.monotonic() + 30
    for kind in kinds or KINDS:
        while "No resources found" not in server.kubectl("get", kind, "--namespace=default", check=False):
            assert time.monotonic() < deadline, f"{kind} are not served after 30 s"
            time.sleep(0.2)


def storage_class(name: str, *, default: bool) -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": DEFAULT if default else {}},
        "provisioner": "example.com/none",
    }


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def prometheus(name: str = "main", **spec: object) -> dict[str, Any]:
    """Return a Prometheus that selects as kube-prometheus-stack sets it up, unless `spec` says otherwise."""
    release: dict[str, Any] = {"matchLabels": {"release": "kube-prometheus-stack"}}
    selectors: dict[str, Any] = {
        "ruleSelector": release,
        "ruleNamespaceSelector": {},
        "serviceMonitorSelector": release,
        "serviceMonitorNamespaceSelector": {},
    }
    merged = {**selectors, **spec}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "Prometheus",
        "metadata": {"name": name, "namespace": "monitoring"},
        "spec": {key: value for key, value in merged.items() if value is not None},
    }
