"""What the provider knows of kinds: what cannot change in place, and when an object is ready."""

import base64
from typing import Any, Final

from sandbox.plugins.cluster import Cluster, Object, wait

# Paths whose change replaces the object, as the API server would refuse it.
IMMUTABLE: Final = {
    "": ("metadata.name", "metadata.namespace", "apiVersion", "kind"),
    "Deployment": ("spec.selector",),
    "Job": ("spec.completionMode", "spec.completions", "spec.selector", "spec.template"),
    "PersistentVolumeClaim": ("spec.accessModes", "spec.storageClassName", "spec.volumeName"),
    "Secret": ("type",),
    "Service": ("spec.clusterIP",),
    "StatefulSet": ("spec.selector", "spec.serviceName", "spec.volumeClaimTemplates"),
}
SKIP: Final = "pulumi.com/skipAwait"


def at(value: Any, path: str) -> Any:
    """Return what stands at a dotted path, or None."""
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def changes(old: Object, new: Object) -> list[str]:
    """Return the paths, two levels deep, at which two objects differ."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            found += [
                f"{key}.{each}" for each in sorted(before.keys() | after.keys()) if before.get(each) != after.get(each)
            ]
        else:
            found.append(key)
    return found


def replaced(kind: str, old: Object, new: Object) -> list[str]:
    """Return the immutable paths that differ."""
    paths = IMMUTABLE[""] + IMMUTABLE.get(kind, ())
    return [path for path in paths if at(old, path) != at(new, path)]


def as_declared(live: Any, declared: Any) -> Any:
    """Return the live value of everything that was declared, and nothing that a server or another owner added."""
    if declared is None:
        return None  # not declared: a default that the server chose is no drift
    if isinstance(live, dict) and isinstance(declared, dict):
        return {key: as_declared(live[key], declared[key]) for key in declared if key in live}
    if isinstance(live, list) and isinstance(declared, list) and len(live) == len(declared):
        return [as_declared(*pair) for pair in zip(live, declared, strict=True)]
    return declared if _equal(live, declared) else live


def _equal(live: Any, declared: Any) -> bool:
    # The API server writes quantities in its own form, 1000m as 1; YAML and gRPC make 1 of 1.0.
    return live == declared or (isinstance(live, str | int | float) and str(live) == str(declared))


def live_inputs(live: Object, declared: Object) -> Object:
    """Like `as_declared` for a whole object; a Secret's `stringData` is read back from `data`."""
    seen = as_declared(live, declared)
    if declared.get("kind") == "Secret" and "stringData" in declared:
        data = live.get("data") or {}
        texts = {
            key: base64.b64decode(data[key]).decode(errors="replace") for key in declared["stringData"] if key in data
        }
        seen["stringData"] = texts
    return dict(seen)


def await_ready(cluster: Cluster, manifest: Object, seconds: float) -> str | None:
    """Wait until a workload is available; return what is wrong with it when it is not in time."""
    annotations = manifest["metadata"].get("annotations") or {}
    if annotations.get(SKIP) == "true" or manifest["kind"] not in ("Deployment", "StatefulSet"):
        return None
    if wait(lambda: _available(cluster.get(manifest) or {}), seconds):
        return None
    events = "; ".join(cluster.events(manifest)) or "no warning event"
    name = manifest["metadata"]["name"]
    return f"{manifest['kind']} {name} was not available within {seconds:.0f} s ({events})"


def await_gone(cluster: Cluster, manifest: Object, seconds: float) -> str | None:
    """Wait until an object is gone; return what holds it when it is not in time."""
    if wait(lambda: cluster.get(manifest) is None, seconds):
        return None
    live = cluster.get(manifest) or {}
    holders = (at(live, "metadata.finalizers") or []) + (at(live, "spec.finalizers") or [])
    conditions = [
        each.get("message", "") for each in at(live, "status.conditions") or [] if each.get("status") == "True"
    ]
    name = manifest["metadata"]["name"]
    return (
        f"{manifest['kind']} {name} was not gone within {seconds:.0f} s; finalizers: {holders}; {' '.join(conditions)}"
    )


def _available(live: Object) -> bool:
    status, wanted = live.get("status", {}), at(live, "spec.replicas")
    if status.get("observedGeneration") != at(live, "metadata.generation"):
        return False
    ready = status.get("availableReplicas", 0)
    return bool(ready >= wanted and status.get("updatedReplicas", 0) >= wanted)
