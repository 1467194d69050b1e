"""Rules on what is laid over the pods: nothing that the stack itself sets, nothing that the namespace refuses."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from components import labels, patches
from components.settings.model import Evaluation
from components.settings.monitored import Monitoring
from components.settings.pod import Pod
from components.settings.problems import Problem, problem, rm_command

Found = Iterator[Problem]
Key = list[str | int]

OURS: Final = ("app.kubernetes.io/", "batch.kubernetes.io/", "vllm-eval/", labels.QUEUE)
# The kinds of volumes that the Pod Security Standard `restricted` permits; the namespace enforces it.
VOLUMES: Final = frozenset(
    ("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret")
)


def check_evaluation_pod(evaluation: Evaluation) -> Found:
    """Refuse what the stack or the manifest sets on the evaluation's pods."""
    template = patches.manifest()["spec"]["template"]["spec"]
    (container,) = template["containers"]
    names = {*(each["name"] for each in container["env"]), *patches.VARIABLES}
    paths = {*(each["mountPath"] for each in container["volumeMounts"]), *patches.DATA_MOUNTS.values()}
    volumes = {*(each["name"] for each in template["volumes"]), *patches.DATA_MOUNTS}
    yield from _check(["evaluation", "pod"], evaluation.pod, names, volumes, paths)


def check_gateway_pod(monitoring: Monitoring) -> Found:
    """Refuse what the stack sets on the gateway's pod."""
    yield from _check(["monitoring", "pushgateway", "pod"], monitoring.pushgateway.pod, set(), {"data"}, {"/data"})


def _check(path: Key, pod: Pod, names: set[str], volumes: set[str], paths: set[str]) -> Found:
    for field in ("labels", "annotations"):
        for key in getattr(pod, field):
            if key.startswith(OURS) or key == "git-commit":
                where: Key = [*path, field, key]
                fault = (
                    "is the stack's own" if key != labels.QUEUE else "is set by evaluation.queue, for the Job as well"
                )
                yield problem(where, getattr(pod, field)[key], fault, rm_command(where))
    yield from _entries([*path, "env"], [each.model_dump() for each in pod.env], "name", names)
    yield from _entries([*path, "volumes"], pod.volumes, "name", volumes)
    yield from _entries([*path, "volumeMounts"], pod.volume_mounts, "mountPath", paths)
    for index, volume in enumerate(pod.volumes):
        if other := volume.keys() - VOLUMES - {"name"}:
            kind = min(other)
            fault = f"{kind} is refused by the Pod Security Standard `restricted`, which the namespace enforces"
            where = [*path, "volumes", index]
            yield problem(where, volume, fault, f"{rm_command(where)}, or use one of {', '.join(sorted(VOLUMES))}")
    known = volumes | {str(each.get("name")) for each in pod.volumes}
    for index, mount in enumerate(pod.volume_mounts):
        if mount.get("name") not in known:
            where = [*path, "volumeMounts", index, "name"]
            yield problem(
                where, mount.get("name"), "no volume has that name", f"add it to {'.'.join(map(str, path))}.volumes"
            )


def _entries(path: Key, entries: Sequence[dict[str, Any]], key: str, taken: set[str]) -> Found:
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        name = entry.get(key)
        if not isinstance(name, str) or not name:
            yield problem([*path, index], entry, f"has no {key}", f"give each entry of {path[-1]} a {key}")
        elif name in taken:
            cure = rm_command([*path, index])
            yield problem([*path, index, key], name, "is set by the stack or its manifest", cure)
        elif name in seen:
            yield problem([*path, index, key], name, "stands twice", rm_command([*path, index]))
        seen.add(str(name))


POD_CHECKS: Final[tuple[Callable[..., Found], ...]] = (check_evaluation_pod, check_gateway_pod)
