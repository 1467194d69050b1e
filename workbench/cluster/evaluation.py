"""The evaluation in a cluster, seen from outside: its Job, its scores, and what Argo CD makes of it."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from components import labels
from vllm_eval.metrics import PUSH_JOB
from workbench.cluster.kubectl import PROMETHEUS, kubectl, query
from workbench.shell import CommandError, Runner, WorkbenchError, say, wait_for

JOB: Final = ("get", "job", labels.EVALUATION, "--ignore-not-found", "-o", "json")
PODS: Final = f"{labels.JOB_NAME}={labels.EVALUATION}"
INTERVAL: Final = 2.0


@dataclass(frozen=True)
class JobState:
    """What the evaluation Job on the cluster says of itself; times are Unix seconds."""

    uid: str
    git_commit: str
    image: str
    finished: float | None
    failed: str | None


def job(runner: Runner, namespace: str = labels.NAMESPACE) -> JobState | None:
    """Return the Job on the cluster, or None while there is none."""
    text = kubectl(runner, "-n", namespace, *JOB)
    if not text:
        return None
    seen: dict[str, Any] = json.loads(text)
    listed = seen.get("status", {}).get("conditions", [])
    conditions = {each["type"]: each for each in listed if each["status"] == "True"}
    end = conditions.get("Complete") or conditions.get("Failed")
    return JobState(
        uid=seen["metadata"]["uid"],
        git_commit=seen["spec"]["template"]["metadata"]["annotations"][labels.COMMIT_ANNOTATION],
        image=seen["spec"]["template"]["spec"]["containers"][0]["image"],
        finished=datetime.fromisoformat(end["lastTransitionTime"]).timestamp() if end else None,
        failed=conditions["Failed"].get("message", "") if "Failed" in conditions else None,
    )


def follow(
    runner: Runner,
    pending: Callable[[JobState | None], str],
    *,
    stack: str,
    namespace: str = labels.NAMESPACE,
    prometheus: str | None = PROMETHEUS,
    seconds: float,
    outage: float,
) -> JobState:
    """Say what the evaluation does until its Job has ended well and its scores are in Prometheus.

    Parameters
    ----------
    runner
        Runs kubectl on the cluster.
    pending
        Says what must still happen before the Job in the cluster is the one that is waited for; empty when it is.
    stack
        Whose scores they are: a Prometheus may have those of several stacks.
    namespace
        Of the Job.
    prometheus
        The Service of the Prometheus that scrapes the scores; None when none does.
    seconds
        How long the run may take.
    outage
        For how many seconds the cluster may be away; the evaluation goes on meanwhile.

    Raises
    ------
    WorkbenchError
        With the pods' last lines, when the Job fails; with what was seen last, when it does not end.
    """
    found = _ended(runner, pending, namespace, seconds, outage)
    if found.failed is not None:
        raise WorkbenchError(f"the evaluation failed: {found.failed}\n{logs(runner, namespace)}")
    if prometheus is not None:
        finished = found.finished or 0.0
        wait_for("the scores in Prometheus", lambda: scraped(runner, stack, prometheus) > finished, seconds=180)
    return found


def _ended(
    runner: Runner, pending: Callable[[JobState | None], str], namespace: str, seconds: float, outage: float
) -> JobState:
    answered = time.monotonic()
    deadline = answered + seconds
    said = ""
    while time.monotonic() < deadline:
        try:
            found = job(runner, namespace)
            state = pending(found)
            if found and found.finished and not state:
                return found
            state = state or progress(runner, namespace)
            answered = time.monotonic()
        except WorkbenchError as error:
            if time.monotonic() - answered > outage:
                raise
            state = f"no answer: {error.last if isinstance(error, CommandError) else error}"
        if state != said:
            say(f"  {state}")
            said = state
        time.sleep(INTERVAL)
    raise WorkbenchError(f"the evaluation did not end within {seconds:.0f} s; last seen: {said}")


def application(runner: Runner, namespace: str = "argocd", name: str = labels.APPLICATION) -> dict[str, Any] | None:
    """Return the Application, or None while there is none."""
    # In full: other products have a kind of this name, too.
    text = kubectl(runner, "-n", namespace, "get", "applications.argoproj.io", name, "--ignore-not-found", "-o", "json")
    return dict(json.loads(text)) if text else None


def sync_state(seen: Mapping[str, Any] | None) -> str:
    """Say in one line what Argo CD makes of an Application."""
    if seen is None:
        return "there is no Application yet"
    status = seen.get("status", {})
    conditions = "; ".join(each["message"] for each in status.get("conditions", []))
    operation = status.get("operationState", {}).get("message", "")
    return f"Argo CD: {status.get('sync', {}).get('status', 'Unknown')} {operation} {conditions}".strip()[:300]


def progress(runner: Runner, namespace: str = labels.NAMESPACE) -> str:
    """Return the last line that the evaluation's pods wrote, or the state of the pods."""
    try:
        lines = kubectl(runner, "-n", namespace, "logs", f"job/{labels.EVALUATION}", "--tail=1").strip()
    except WorkbenchError:
        lines = ""
    return lines or "the evaluation's pod starts"


def logs(runner: Runner, namespace: str = labels.NAMESPACE) -> str:
    """Return the last lines of every pod of the Job."""
    try:
        return kubectl(runner, "-n", namespace, "logs", f"--selector={PODS}", "--prefix", "--tail=20")
    except WorkbenchError as error:
        return str(error)


def scraped(runner: Runner, stack: str, prometheus: str = PROMETHEUS) -> float:
    """Return when Prometheus last scraped what a stack has pushed (Unix seconds), 0 for never."""
    series = query(runner, f"max(timestamp({pushes(stack)}))", prometheus)
    return series[0][1] if series else 0.0


def pushes(stack: str) -> str:
    """Return the PromQL selector of the times at which the Pushgateway got a stack's scores, one series a model."""
    return f'push_time_seconds{{job="{PUSH_JOB}",stack="{stack}"}}'
