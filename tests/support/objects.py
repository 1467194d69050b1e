"""Questions about rendered objects that several tests ask."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from tests.support.program import Declared, Stack
from workbench.paths import REPOSITORY

# Kinds of which a stack has several.
NAMED = frozenset({"Deployment", "Namespace", "NetworkPolicy", "PersistentVolumeClaim", "Secret", "Service"})
POD_PATHS = {"Deployment": ("spec", "template"), "Job": ("spec", "template")}


def title(kind: str, manifest: Mapping[str, Any]) -> str:
    """Return the kind and, where a stack has several of it, the name."""
    return f"{kind} {manifest['metadata']['name']}" if kind in NAMED else kind


def synced() -> dict[str, dict[str, Any]]:
    """Return the manifests in `k8s/` that Argo CD owns, by kind."""
    folder = REPOSITORY / "k8s"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    manifests = [yaml.safe_load((folder / name).read_text()) for name in listed]
    return {each["kind"]: each for each in manifests}


def pods(stack: Stack) -> Iterator[tuple[Declared, dict[str, Any]]]:
    """Yield every pod template that the stack itself declares."""
    for each in stack.kubernetes():
        if each.kind in POD_PATHS:
            yield each, each.inputs["spec"]["template"]


def references(pod: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield kind and name of everything in its namespace that a pod cannot start without."""
    if "serviceAccountName" in pod:
        yield "ServiceAccount", pod["serviceAccountName"]
    for each in pod.get("imagePullSecrets", []):
        yield "Secret", each["name"]
    for volume in pod.get("volumes", []):
        yield from _of_volume(volume)
    for container in pod["containers"]:
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference is not None:
                yield "Secret", reference["name"]


def _of_volume(volume: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "persistentVolumeClaim" in volume:
        yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    if "configMap" in volume:
        yield "ConfigMap", volume["configMap"]["name"]
    for source in volume.get("projected", {}).get("sources", []):
        if not source["secret"].get("optional"):
            yield "Secret", source["secret"]["name"]
    if "secret" in volume and not volume["secret"].get("optional"):
        yield "Secret", volume["secret"]["secretName"]


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Return whether a label selector matches."""
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def assert_restricted(pod: dict[str, Any]) -> None:
    """Assert the restricted standard, and requests and limits in every container."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    # Without one, the cluster's policy (OpenShift's) chooses it.
    assert pod["securityContext"].get("runAsUser", 1) > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
    volumes = {kind for volume in pod.get("volumes", []) for kind in volume if kind != "name"}
    assert volumes <= {"emptyDir", "persistentVolumeClaim", "secret", "downwardAPI", "configMap", "projected", "image"}
