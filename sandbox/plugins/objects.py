"""Objects of the Kubernetes API as resources, by server-side apply.

State holds what was declared, never what the server added, so that a refresh
shows drift of our fields and nothing else.
"""

import secrets
from typing import Final

from sandbox.plugins import kinds
from sandbox.plugins.cluster import ApiError, Cluster, NoSuchKindError
from sandbox.plugins.properties import UNKNOWN, Object, as_declared, at, has_unknown, pruned
from sandbox.plugins.resource import PartialError, Resource
from sandbox.plugins.server import PluginError, wait

AUTONAMED: Final = "pulumi.com/autonamed"
PATCH_FORCE: Final = "pulumi.com/patchForce"
PROPAGATION: Final = "pulumi.com/deletionPropagationPolicy"
# A CRD that the step before has just brought is served a moment later.
KIND_SECONDS: Final = 30.0
# What the API server adds to every object; an import leaves it out.
SERVER_SET: Final = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")


class Objects:
    """Every resource type but Helm releases.

    Parameters
    ----------
    cluster
        Where they live.
    options
        Names of the provider's options that are true.
    namespace
        The provider's default namespace; otherwise the context's is used.
    """

    def __init__(self, cluster: Cluster, options: frozenset[str], namespace: str | None) -> None:
        self._cluster, self._options = cluster, options
        self._namespace = namespace or cluster.access.namespace

    def check(self, name: str, old: Object, new: Object) -> Object:
        """Return a manifest with the name and namespace that it will have."""
        new = pruned(new)
        metadata = new.setdefault("metadata", {})
        if metadata == UNKNOWN:
            return new
        if metadata.get("generateName"):
            raise PluginError(f"{name}: metadata.generateName cannot be applied; leave the name out, or give one")
        if not metadata.get("name"):
            metadata["name"] = at(old, "metadata.name") or f"{name}-{secrets.token_hex(4)}"
            metadata["annotations"] = {**(metadata.get("annotations") or {}), AUTONAMED: "true"}
        if not metadata.get("namespace") and self._cluster.is_namespaced(new):
            metadata["namespace"] = self._namespace
        return kinds.normalised(new)

    def immutable(self, new: Object) -> tuple[str, ...]:
        """Return the paths whose change replaces the object."""
        return kinds.immutable(new, self._options)

    def blocks(self, old: Object, new: Object) -> bool:
        """Tell whether the old object must be gone before a new one can be there."""
        return _id(old) == _id(new) and kinds.annotation(new, AUTONAMED) != "true"

    def create(self, inputs: Object, seconds: float, *, preview: bool) -> Resource:
        """Create an object that is not there yet, and wait until it is usable."""
        cluster = self._cluster
        if preview:
            self._rehearse(inputs)
            return Resource("", inputs, inputs)
        if wait(lambda: cluster.is_served(inputs), KIND_SECONDS):
            raise NoSuchKindError(inputs)
        live = cluster.get(inputs)
        if live is not None and "upsertExistingObjects" not in self._options:
            if at(live, "metadata.deletionTimestamp"):
                raise PluginError(f"{_title(inputs)} is still being deleted: try again when it is gone")
            raise PluginError(f"{_title(inputs)} already exists, not of this stack: delete it or `pulumi import` it")
        self._apply(inputs)
        return self._awaited(inputs, seconds)

    def read(self, kind: str, name: str, inputs: Object) -> Resource | None:
        """Return an object's live state, None when it is gone; without inputs it is an import."""
        manifest = inputs or _named(kind, name, self._namespace)
        live = self._cluster.get(manifest)
        if live is None:
            return None
        if not inputs:
            metadata = {key: value for key, value in live["metadata"].items() if key not in SERVER_SET}
            seen = {key: value for key, value in live.items() if key != "status"} | {"metadata": metadata}
        else:
            seen = as_declared(live, inputs, self._applied(inputs))
        return Resource(_id(seen), seen, seen)

    def update(self, inputs: Object, seconds: float, *, preview: bool) -> Resource:
        """Change an object in place, and wait until it is usable again."""
        if not preview:
            self._apply(inputs)
            return self._awaited(inputs, seconds)
        if not has_unknown(inputs) and self._cluster.is_served(inputs):
            self._apply(inputs, dry_run=True)
        return Resource(_id(inputs), inputs, inputs)

    def delete(self, inputs: Object, seconds: float) -> None:
        """Delete an object, its dependents first, and wait until it is gone."""
        cluster = self._cluster
        cluster.delete(inputs, (kinds.annotation(inputs, PROPAGATION) or "foreground").capitalize())
        if kinds.annotation(inputs, kinds.SKIP_AWAIT) == "true" and inputs["kind"] in kinds.SKIPS_DELETION:
            return
        if late := wait(lambda: cluster.get(inputs) is None, seconds):
            live = cluster.get(inputs) or {}
            holders = (at(live, "metadata.finalizers") or []) + (at(live, "spec.finalizers") or [])
            conditions = at(live, "status.conditions") or []
            told = [each["message"] for each in conditions if each.get("status") == "True" and each.get("message")]
            held = "; ".join([f"finalizers {', '.join(holders) or 'none'}", *told])
            raise PluginError(f"{_title(inputs)} was not gone {late}: {held}")

    def _apply(self, inputs: Object, *, dry_run: bool = False) -> None:
        force = "enablePatchForce" in self._options or kinds.annotation(inputs, PATCH_FORCE) == "true"
        try:
            self._cluster.apply(inputs, dry_run=dry_run, force=force)
        except ApiError as error:
            if error.code != 409 or force:
                raise
            cure = f"To take the fields over, set the annotation {PATCH_FORCE} or the provider's enable_patch_force."
            raise PluginError(f"{_title(inputs)} is also changed by others. {error} {cure}") from None

    def _rehearse(self, inputs: Object) -> None:
        """Let the API server judge a new object; what the same update brings first may be missing."""
        if has_unknown(inputs) or not self._cluster.is_served(inputs) or self._cluster.get(inputs) is not None:
            return
        try:
            self._cluster.apply(inputs, dry_run=True)
        except ApiError as error:
            if error.code != 404:  # its namespace
                raise

    def _applied(self, inputs: Object) -> Object:
        try:
            return self._cluster.apply(inputs, dry_run=True, force=True)
        except ApiError:
            return inputs  # drift in a field that cannot change in place

    def _awaited(self, inputs: Object, seconds: float) -> Resource:
        done = Resource(_id(inputs), inputs, inputs)
        if late := wait(lambda: kinds.is_ready(inputs, self._cluster.get(inputs) or {}), seconds):
            live = self._cluster.get(inputs) or {}
            found = self._cluster.around(inputs, at(live, "spec.selector.matchLabels") or {})
            why = "; ".join(dict.fromkeys(kinds.reasons(live, *found))) or "no controller has reported on it"
            raise PartialError(f"{_title(inputs)} was not available {late}: {why}", done)
        return done


def _named(kind: str, name: str, namespace: str) -> Object:
    """Return what identifies an object that is imported: its type as `kubernetes:apps/v1:Deployment`, its id."""
    _, version, title = kind.split(":")
    space, _, plain = name.rpartition("/")
    metadata = {"name": plain, "namespace": space or namespace}
    return {"apiVersion": version.removeprefix("core/"), "kind": title, "metadata": metadata}


def _id(manifest: Object) -> str:
    namespace, name = at(manifest, "metadata.namespace"), at(manifest, "metadata.name")
    return f"{namespace}/{name}" if namespace else str(name)


def _title(manifest: Object) -> str:
    return f"{manifest['kind']} {_id(manifest)}"
