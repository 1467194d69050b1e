"""Copies reports out of a cluster: by their URL, or out of the claim through a pod that can only read it."""

import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from components import labels
from workbench.cluster.context import Context, asked
from workbench.cluster.kubectl import kubectl
from workbench.cluster.requests import DeployRequest
from workbench.shell import CommandError, Runner, WorkbenchError, run, say

NAME: Final = "vllm-eval-fetch"
# If this program is killed, the pod ends by itself.
SECONDS: Final = 1800
START: Final = 240
SCRATCH: Final = "/tmp"  # noqa: S108 (the pod's own volume)
FOLDER: Final = f"{SCRATCH}/reports"
# What decides whether and where a pod of the evaluation may run; the rest of it is not needed for reading.
KEPT: Final = (
    "affinity", "imagePullSecrets", "nodeSelector", "priorityClassName", "runtimeClassName", "securityContext",
    "serviceAccountName", "tolerations",
)  # fmt: skip


def fetch(context: Context, target: Path) -> None:
    """Copy the reports of the last runs of a stack into a folder.

    Raises
    ------
    WorkbenchError
        The stack's settings are wrong, nothing has been evaluated yet, or the pod does not start.
    """
    settings = asked(context, DeployRequest())
    wanted = ("fetch", "--stack", context.stack)
    if url := settings["results"]:
        words = [sys.executable, "-m", "vllm_eval", *wanted, "--out", url, "--to", str(target)]
        run(words, env=os.environ, timeout=SECONDS)
    else:
        namespace = settings["namespace"]
        with reading_pod(context, namespace, *evaluation_pod(context, namespace)) as pod:
            kubectl(context, "-n", namespace, "exec", pod, "--", "vllm-eval", *wanted, "--to", FOLDER, timeout=SECONDS)
            target.mkdir(parents=True, exist_ok=True)
            kubectl(context, "-n", namespace, "cp", f"{pod}:{FOLDER}/.", str(target), timeout=SECONDS)
    say(f"the reports are in {target}: open {target / 'index.html'}")


def evaluation_pod(runner: Runner, namespace: str) -> tuple[dict[str, Any], str | None]:
    """Return the spec of the evaluation's pod, and the node that holds the claim now, None when none does.

    Raises
    ------
    WorkbenchError
        There is no Job yet, or its results are on no claim.
    """
    listed = json.loads(kubectl(runner, "-n", namespace, "get", "jobs,cronjobs,pods", "-o", "json"))["items"]
    specs = {each["kind"]: each["spec"] for each in listed if each["metadata"]["name"].startswith(labels.EVALUATION)}
    if "CronJob" in specs:
        specs.setdefault("Job", specs["CronJob"]["jobTemplate"]["spec"])
    if "Job" not in specs:
        raise WorkbenchError(f"the namespace {namespace} has neither a Job nor a CronJob of the evaluation yet")
    spec: dict[str, Any] = specs["Job"]["template"]["spec"]
    if _claim(spec) is None:
        raise WorkbenchError(f"the evaluation in {namespace} has no claim for its results, so none are kept")
    holding = (
        each["spec"].get("nodeName")
        for each in listed
        if each["kind"] == "Pod"
        and each.get("status", {}).get("phase") in {"Pending", "Running"}
        and _claim(each["spec"]) == _claim(spec)
    )
    return spec, next(filter(None, holding), None)


def _claim(spec: Mapping[str, Any]) -> str | None:
    """Return the claim behind a pod's results."""
    volumes = {each["name"]: each.get("persistentVolumeClaim", {}).get("claimName") for each in spec.get("volumes", [])}
    return volumes.get("results")


def manifest(name: str, namespace: str, spec: Mapping[str, Any], node: str | None) -> dict[str, Any]:
    """Return a pod that mounts the claim read-only and sleeps, on `node` if one holds the claim now."""
    container = spec["containers"][0]
    kept = {key: spec[key] for key in KEPT if key in spec}
    if node is not None:
        # The claim may be of a kind that one node mounts: on another one, the pod would wait for the evaluation's end.
        there = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [there]}}
        kept["affinity"] = {"nodeAffinity": required}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {labels.NAME: NAME, labels.PART_OF: labels.PROJECT},
        },
        "spec": {
            **kept,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": SECONDS,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "containers": [
                {
                    "name": "fetch",
                    "image": container["image"],
                    "command": ["sleep", str(SECONDS)],
                    "env": [{"name": "VLLM_EVAL_RESULTS", "value": "/results"}, {"name": "HOME", "value": SCRATCH}],
                    "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
                    "securityContext": container["securityContext"],
                    "volumeMounts": [
                        {"name": "results", "mountPath": "/results", "readOnly": True},
                        {"name": "tmp", "mountPath": SCRATCH},
                    ],
                }
            ],
            "volumes": [
                {"name": "results", "persistentVolumeClaim": {"claimName": _claim(spec)}},
                {"name": "tmp", "emptyDir": {}},
            ],
        },
    }


@contextmanager
def reading_pod(
    runner: Runner, namespace: str, spec: Mapping[str, Any], node: str | None, *, seconds: int = START
) -> Iterator[str]:
    """Run the pod until the end of the block, and give its name.

    Raises
    ------
    WorkbenchError
        It is not ready after `seconds`, with what the cluster says of it.
    """
    name = f"{NAME}-{secrets.token_hex(3)}"
    where = ("-n", namespace)
    try:
        kubectl(runner, *where, "create", "-f", "-", stdin=json.dumps(manifest(name, namespace, spec, node)))
        say(f"  the pod {name} starts")
        try:
            ready = ("wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={seconds}s")
            kubectl(runner, *where, *ready, timeout=seconds + 30)
        except CommandError as error:
            raise WorkbenchError(
                f"the pod {name} did not start within {seconds} s: {_last_event(runner, namespace, name)}"
            ) from error
        yield name
    finally:
        kubectl(runner, *where, "delete", "pod", name, "--ignore-not-found", "--now", "--wait=false")


def _last_event(runner: Runner, namespace: str, pod: str) -> str:
    words = ("get", "events", f"--field-selector=involvedObject.name={pod}", "--sort-by=.lastTimestamp", "-o", "json")
    events = json.loads(kubectl(runner, "-n", namespace, *words))["items"]
    return events[-1]["message"] if events else "the cluster has no event of it"
