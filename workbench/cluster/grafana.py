"""Tells whether a Grafana of the cluster would find the stack's dashboard: by a label, and in which namespaces."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from workbench.cluster.kubectl import kubectl
from workbench.shell import Runner

ALL: Final = "ALL"
NONE: Final = (
    "no Grafana with a sidecar for dashboards is in the cluster: turn that of Grafana's chart on"
    " (`sidecar.dashboards.enabled`), or import monitoring/dashboard.json by hand and leave this one out:"
    " pulumi config set --path 'vllm-eval:monitoring.dashboard' false"
)


@dataclass(frozen=True)
class Sidecar:
    """A container of kiwigrid's k8s-sidecar that collects dashboards, as Grafana's chart starts it."""

    where: str
    label: str
    value: str
    namespaces: tuple[str, ...]
    folder_annotation: str

    def fault(self, namespace: str, labels: Mapping[str, str]) -> str:
        """Say why it does not find a ConfigMap in `namespace` with `labels`; empty when it does."""
        wanted = f"{self.label}={self.value}" if self.value else self.label
        if self.label not in labels or self.value not in ("", labels[self.label]):
            return (
                f"{self.where} looks for the label {wanted}: vllm-eval:monitoring.dashboard_labels:"
                f' {{{self.label}: "{self.value or 1}"}}'
            )
        if ALL not in self.namespaces and namespace not in self.namespaces:
            return (
                f"{self.where} looks in {', '.join(self.namespaces)} alone: set `sidecar.dashboards.searchNamespace:"
                f" {ALL}` of Grafana's chart"
            )
        return ""


def sidecars(runner: Runner) -> list[Sidecar]:
    """Return every sidecar of the cluster that collects dashboards.

    Raises
    ------
    WorkbenchError
        When the cluster does not let us look.
    """
    found = json.loads(kubectl(runner, "get", "deployments,statefulsets", "--all-namespaces", "-o", "json"))
    return [each for workload in found["items"] for each in _of(workload)]


def report(known: list[Sidecar], namespace: str, labels: Mapping[str, str]) -> tuple[Sidecar | None, str]:
    """Return the first sidecar that finds the dashboard; or None, and why none does."""
    faults = [each.fault(namespace, labels) for each in known]
    for each, fault in zip(known, faults, strict=True):
        if not fault:
            return each, ""
    return None, "; ".join(faults) or NONE


def _of(workload: Mapping[str, Any]) -> Iterator[Sidecar]:
    metadata = workload["metadata"]
    for container in workload["spec"]["template"]["spec"]["containers"]:
        given = {each["name"]: each.get("value", "") for each in container.get("env", [])}
        # The chart runs the same image for datasources, too, with another folder.
        if "LABEL" not in given or "dashboard" not in f"{container['name']} {given.get('FOLDER', '')}":
            continue
        # Without NAMESPACE it looks in its own namespace only.
        namespaces = [each.strip() for each in (given.get("NAMESPACE") or metadata["namespace"]).split(",")]
        yield Sidecar(
            where=f"{workload['kind']} {metadata['namespace']}/{metadata['name']}",
            label=given["LABEL"],
            value=given.get("LABEL_VALUE", ""),
            namespaces=tuple(namespaces),
            folder_annotation=given.get("FOLDER_ANNOTATION", ""),
        )
