"""Rules on what is laid over the pods: nothing that the stack itself sets, nothing that the namespace refuses."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from components import labels, patches
from components.settings.group import each_alone
from components.settings.model import EvaluationSettings
from components.settings.monitored import Monitoring
from components.settings.pod import Pod, Toleration, Variable
from components.settings.problems import HIDDEN, Problem, full_key, is_credential, problem, rm_command, set_command

Found = Iterator[Problem]
Key = list[str | int]

OURS: Final = ("app.kubernetes.io/", "batch.kubernetes.io/", "vllm-eval/", labels.QUEUE)
# Variables whose value is a credential, and variables that hold an address.
SECRET: Final = re.compile(r"(?i)(key|token|secret|passw(or)?d)$")
USER: Final = re.compile(r"://[^/]*@")
ADDRESS: Final = re.compile(r"^AWS_ENDPOINT_URL|(?i:^(https?|all)_proxy$)")
# The kinds of volumes that the Pod Security Standard `restricted` permits; the namespace enforces it.
VOLUMES: Final = frozenset(
    ("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret")
)


def check_evaluation_pod(evaluation: EvaluationSettings) -> Found:
    """Refuse what the stack or the manifest sets on the evaluation's pods."""
    template, container = patches.manifest()["spec"]["template"]["spec"], patches.container()
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
            if key.startswith(OURS) or key == labels.COMMIT_ANNOTATION:
                where: Key = [*path, field, key]
                fault = (
                    "is the stack's own" if key != labels.QUEUE else "is set by evaluation.queue, for the Job as well"
                )
                yield problem(where, getattr(pod, field)[key], fault, rm_command(where))
    # A name that is wrong itself is told already.
    named = [{"name": vars(each).get("name", f"[{index}]")} for index, each in enumerate(pod.env)]
    yield from _entries([*path, "env"], named, "name", names)
    yield from each_alone(_variable([*path, "env", index], each) for index, each in enumerate(pod.env))
    yield from each_alone(_taint([*path, "tolerations", index], each) for index, each in enumerate(pod.tolerations))
    yield from _entries([*path, "volumes"], pod.volumes, "name", volumes)
    yield from _entries([*path, "volumeMounts"], pod.volume_mounts, "mountPath", paths)
    for index, volume in enumerate(pod.volumes):
        if len(kinds := sorted(volume.keys() - {"name"})) > 1:
            where = [*path, "volumes", index]
            yield problem(where, kinds, "a volume has one source", rm_command([*where, kinds[1]]))
        if other := volume.keys() - VOLUMES - {"name"}:
            kind = min(other)
            fault = f"{kind} is refused by the Pod Security Standard `restricted`, which the namespace enforces"
            where = [*path, "volumes", index]
            yield problem(where, volume, fault, f"{rm_command(where)}, or use one of {', '.join(sorted(VOLUMES))}")
    known = volumes | {str(each.get("name")) for each in pod.volumes}
    for index, mount in enumerate(pod.volume_mounts):
        if not isinstance(mount.get("name"), str) or mount["name"] not in known:
            where = [*path, "volumeMounts", index, "name"]
            yield problem(
                where, mount.get("name"), "no volume has that name", f"add it to {'.'.join(map(str, path))}.volumes"
            )


def _variable(path: Key, given: Variable) -> Found:
    """Refuse a credential in plain text, two sources, and an address that its reader does not take."""
    value, where = given.value, [*path, "value"]
    if value and given.value_from is not None:
        yield problem(where, value, "is set as well as valueFrom, and only one of them may be", rm_command(where))
    elif (
        value
        and not value.startswith("/")
        and (SECRET.search(given.name) or is_credential(value) or USER.search(value))
    ):
        fault = "a credential in plain text, in the stack file and in the Job; replace it, since Git may hold it"
        secret = {"secretKeyRef": {"name": "NAME", "key": "KEY"}}
        cure = f"{rm_command(where)}, and write valueFrom: {json.dumps(secret)} in its place"
        yield Problem(full_key(where), HIDDEN, fault, cure)
    elif value and ADDRESS.search(given.name) and "://" not in value:
        fault = "has no scheme (http://), which the programs that read it need"
        yield problem(where, value, fault, set_command(where, f"http://{value}"))


def _taint(path: Key, given: Toleration) -> Found:
    """Refuse a toleration that the API server would refuse."""
    if given.operator == "Exists" and given.value:
        fault = "must not be set with operator Exists, which matches any value"
        yield problem([*path, "value"], given.value, fault, rm_command([*path, "value"]))
    elif given.operator != "Exists" and given.key is None:
        steps = [rm_command([*path, "value"])] * bool(given.value) + [set_command([*path, "operator"], "Exists")]
        yield problem(path, given.operator, "without a key, the operator must be Exists", ", then ".join(steps))
    if given.toleration_seconds is not None and given.effect != "NoExecute":
        fault, where = "has an effect only with effect NoExecute", [*path, "tolerationSeconds"]
        yield problem(where, given.toleration_seconds, fault, rm_command(where))


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
            yield problem([*path, index, key], name, "is there twice", rm_command([*path, index]))
        seen.add(str(name))


POD_CHECKS: Final[tuple[Callable[..., Found], ...]] = (check_evaluation_pod, check_gateway_pod)
