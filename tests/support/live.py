"""What lives in a cluster, by the titles that previews use, and what has changed since."""

import copy
from collections.abc import Iterable
from typing import Any, Final

from tests.support import objects

Contents = dict[str, list[dict[str, Any]]]

# What nobody declares: the API server and controllers make these.
MADE: Final = {
    "CustomResourceDefinition",
    *("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
    *("Pod", "ReplicaSet"),
}
BOOKKEEPING: Final = ("resourceVersion", "managedFields", "generation")
CONTROLLERS: Final = ("deployment.kubernetes.io/", "pv.kubernetes.io/", "volume.kubernetes.io/")


def contents(answers: Iterable[dict[str, Any]]) -> Contents:
    """Return the objects of several list answers by title; all that helm has installed is one release."""
    found: Contents = {}
    for answer in answers:
        kind = answer["kind"].removesuffix("List")
        for each in answer["items"]:
            if _is_helms(each):
                found.setdefault("Release", []).append(_essence(each))
            elif kind not in MADE and each["metadata"]["name"] not in ("default", "kube-root-ca.crt"):
                found.setdefault(objects.title(kind, each), []).append(_essence(each))
    return found


def changes(before: Contents, after: Contents) -> set[str]:
    """Return the titles of what was made, changed, replaced or removed."""
    return {title for title in before.keys() | after.keys() if before.get(title) != after.get(title)}


def _is_helms(manifest: dict[str, Any]) -> bool:
    metadata = manifest["metadata"]
    return "meta.helm.sh/release-name" in metadata.get("annotations", {}) or (
        metadata.get("labels", {}).get("owner") == "helm"
    )


def _essence(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return an object without status, counters and what controllers write into it."""
    rest = {key: copy.deepcopy(value) for key, value in manifest.items() if key != "status"}
    for key in BOOKKEEPING:
        rest["metadata"].pop(key, None)
    annotations = rest["metadata"].get("annotations", {})
    rest["metadata"]["annotations"] = {
        key: value for key, value in annotations.items() if not key.startswith(CONTROLLERS)
    }
    if "accessModes" in rest.get("spec", {}):
        rest["spec"].pop("volumeName", None)
    return rest
