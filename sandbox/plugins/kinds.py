"""What the stand-in knows of kinds: what cannot change in place, how a Secret is written, when an object is ready."""

import base64
import json
from collections.abc import Iterator
from typing import Final

from sandbox.plugins.properties import UNKNOWN, Object, at
from sandbox.plugins.server import PluginError

# Paths whose change replaces the object: the API server would refuse it.
IMMUTABLE: Final = {
    "Deployment": ("spec.selector",),
    "Job": ("spec.completionMode", "spec.completions", "spec.selector", "spec.template"),
    "PersistentVolumeClaim": (
        *("spec.accessModes", "spec.dataSource", "spec.selector", "spec.storageClassName"),
        *("spec.volumeMode", "spec.volumeName"),
    ),
    "Secret": ("type",),
    "Service": ("spec.clusterIP",),
    "StatefulSet": ("spec.podManagementPolicy", "spec.selector", "spec.serviceName", "spec.volumeClaimTemplates"),
}
IDENTITY: Final = ("apiVersion", "kind", "metadata.namespace", "metadata.name")
# Replaced as a whole, unless the provider's option says that they may change in place.
DATA: Final = {"ConfigMap": "enableConfigMapMutable", "Secret": "enableSecretMutable"}

SKIP_AWAIT: Final = "pulumi.com/skipAwait"
WAIT_FOR: Final = "pulumi.com/waitFor"
# Where the official provider heeds skipAwait at a deletion too (pulumi-kubernetes#3154): what follows a
# replacement then meets an object that is still there.
SKIPS_DELETION: Final = ("DaemonSet", "Deployment", "Job", "Namespace", "Pod", "ReplicationController", "StatefulSet")


def immutable(manifest: Object, options: frozenset[str]) -> tuple[str, ...]:
    """Return the paths of an object that cannot change in place."""
    kind = manifest["kind"]
    frozen = ("data", "binaryData") if kind in DATA and (DATA[kind] not in options or manifest.get("immutable")) else ()
    return (*IDENTITY, *IMMUTABLE.get(kind, ()), *frozen)


def normalised(manifest: Object) -> Object:
    """Return a Secret with `stringData` in `data`: applied as `stringData`, a key could never be removed again."""
    texts = manifest.get("stringData")
    if manifest["kind"] != "Secret" or texts is None:
        return manifest
    rest = {key: value for key, value in manifest.items() if key != "stringData"}
    if texts == UNKNOWN or rest.get("data") == UNKNOWN:
        return {**rest, "data": UNKNOWN}
    encoded = {key: _encoded(text) for key, text in texts.items()}
    return {**rest, "data": {**(rest.get("data") or {}), **encoded}}


def annotation(manifest: Object, name: str) -> str | None:
    """Return an annotation's value."""
    found = at(manifest, "metadata.annotations")
    return str(found[name]) if isinstance(found, dict) and name in found else None


def is_ready(manifest: Object, live: Object) -> bool:
    """Tell whether an object that was applied is usable, as the official provider would wait for it."""
    if annotation(manifest, SKIP_AWAIT) == "true":
        return True
    if wanted := annotation(manifest, WAIT_FOR):
        expressions = json.loads(wanted) if wanted.startswith("[") else [wanted]
        return all(_holds(live, each) for each in expressions)
    if manifest["kind"] not in ("Deployment", "StatefulSet"):
        return True
    status, replicas = live.get("status") or {}, at(live, "spec.replicas")
    counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
    return status.get("observedGeneration") == at(live, "metadata.generation") and counts == [replicas] * 3


def reasons(live: Object, pods: list[Object], events: list[Object]) -> Iterator[str]:
    """Yield why a workload is not available: its conditions, its pods' states, warnings."""
    for each in at(live, "status.conditions") or []:
        if (each["status"] == "True") == (each["type"] == "ReplicaFailure"):
            yield f"{each['type']}: {each.get('message') or each.get('reason')}"
    for pod in pods:
        for each in at(pod, "status.conditions") or []:
            if each["type"] == "PodScheduled" and each["status"] != "True":
                yield f"pod {pod['metadata']['name']}: {each.get('message')}"
        for each in at(pod, "status.containerStatuses") or []:
            if waiting := at(each, "state.waiting"):
                text = f"{waiting.get('reason')} {waiting.get('message') or ''}".strip()
                yield f"pod {pod['metadata']['name']}, container {each['name']}: {text}"
    yield from [each["message"] for each in events][-3:]


def _encoded(text: str) -> str:
    return text if text == UNKNOWN else base64.b64encode(text.encode()).decode()


def _holds(live: Object, expression: str) -> bool:
    how, _, rest = expression.partition("=")
    path, _, wanted = rest.partition("=")
    if how == "condition":
        found = {each["type"].lower(): each["status"].lower() for each in at(live, "status.conditions") or []}
        return found.get(path.lower()) == (wanted or "True").lower()
    if how == "jsonpath" and path.startswith("{.") and not set("[*?@") & set(path):
        value = at(live, path.strip("{.}"))
        return value is not None and (not wanted or str(value) == wanted)
    raise PluginError(f"{WAIT_FOR}: {expression!r} is neither condition=NAME nor a jsonpath={{.plain.path}}=VALUE")
