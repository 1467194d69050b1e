"""`make verify CONTEXT=…`: whether a deployed stack works, from Argo CD's sync to a test alert at a receiver.

Every step is taken, also after one that failed, so that one run shows every fault.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from components import labels
from vllm_eval.metrics import RUN_SUCCESS
from workbench.cluster import alarm, evaluation, grafana, needs, report
from workbench.cluster.context import Context
from workbench.cluster.kubectl import kubectl, query, service_proxy
from workbench.shell import WorkbenchError, say

PULL: Final = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}


@dataclass(frozen=True)
class Stack:
    """A deployed stack: where it is, and what its settings ask of the cluster."""

    context: Context
    asked: Mapping[str, Any]
    prometheus: str | None
    unread: str

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.asked["namespace"])

    def reader(self) -> str:
        """Return the Service of the Prometheus that reads its objects.

        Raises
        ------
        WorkbenchError
            When none does.
        """
        if self.prometheus is None:
            raise WorkbenchError(self.unread)
        return self.prometheus

    def get(self, *words: str) -> Any:  # noqa: ANN401 (JSON)
        """Return an object of its namespace, None if there is none."""
        text = kubectl(self.context, "-n", self.namespace, "get", *words, "--ignore-not-found", "-o", "json")
        return json.loads(text) if text else None


@dataclass(frozen=True)
class Note:
    """Why a step cannot be judged, which is no fault of the stack."""

    text: str


def verify(context: Context, asked: Mapping[str, Any], *, alert: bool) -> None:
    """Take every step, print a line for each, and raise one error if any of them failed."""
    faults: list[str] = []
    try:
        prometheus = needs.reader(context, context.stack, asked, faults)
    except WorkbenchError as error:
        prometheus, faults = None, [str(error)]
    stack = Stack(context, asked, prometheus, "\n".join(faults) or "no Prometheus is known")
    left_out = {
        *(() if asked["monitored"] else MONITORED),
        *(() if asked["dashboard"] is not None else ("dashboard",)),
        *(() if alert else ("alert",)),
    }
    steps = {name: step for name, step in STEPS.items() if name not in left_out}
    failed = []
    for name, step in steps.items():
        try:
            found = step(stack)
            mark, text = ("note", found.text) if isinstance(found, Note) else ("ok", found)
            say(f"{mark:4}  {name:10} {text}")
        except WorkbenchError as error:
            failed.append(name)
            say(f"FAIL  {name:10} {error}")
    if failed:
        raise WorkbenchError(f"{len(failed)} of {len(steps)} steps failed: {', '.join(failed)}")


def _application(stack: Stack) -> str:
    where, name = stack.asked["argocd"], stack.asked["application"]
    found = evaluation.application(stack.context.of_argocd(stack.asked["hub"]), where, name)
    if found is None:
        raise WorkbenchError(f"there is no Application {where}/{name}: run `pulumi up`")
    status = found.get("status", {})
    sync, health = (status.get(each, {}).get("status", "Unknown") for each in ("sync", "health"))
    # A Job that runs is Progressing, and one that failed Degraded: the step `Job` says why.
    if sync != "Synced" or health not in {"Healthy", "Progressing"}:
        raise WorkbenchError(f"Application {where}/{name} is {sync} and {health}; {evaluation.sync_state(found)}")
    return f"Application {where}/{name} is Synced and {health}, at {status['sync'].get('revision', '?')[:12]}"


def _image(stack: Stack) -> str:
    seen = _the_job(stack)
    pods = json.loads(
        kubectl(stack.context, "-n", stack.namespace, "get", "pods", f"--selector={evaluation.PODS}", "-o", "json")
    )["items"]
    for pod in pods:
        for each in pod["status"].get("containerStatuses", []):
            waiting = each.get("state", {}).get("waiting", {})
            if waiting.get("reason") in PULL:
                raise WorkbenchError(
                    f"{each['image']} is not pulled ({waiting['reason']}: {waiting.get('message', '')}): make the"
                    " package public, or give the pods a pull secret (secret registry-credentials, or"
                    " evaluation.pod.imagePullSecrets)"
                )
            if each.get("imageID"):
                return f"{seen.image}"
    if seen.finished is not None and seen.failed is None:
        return f"{seen.image}"  # its pods are gone, and they ended well
    raise WorkbenchError(f"no pod has pulled {seen.image} yet: kubectl -n {stack.namespace} describe pods")


def _job(stack: Stack) -> str:
    seen = _the_job(stack)
    if seen.failed is not None:
        raise WorkbenchError(f"it failed: {seen.failed}\n{evaluation.logs(stack.context, stack.namespace)}")
    if seen.finished is None:
        raise WorkbenchError(f"it has not ended yet: {evaluation.progress(stack.context, stack.namespace)}")
    return f"ended well {_ago(seen.finished)}, of commit {seen.git_commit}"


def _the_job(stack: Stack) -> evaluation.JobState:
    if stack.asked["owner"] == "none":
        raise WorkbenchError("evaluation.owner is none: there is no Job")
    seen = evaluation.job(stack.context, stack.namespace)
    if seen is None:
        raise WorkbenchError("there is no Job yet: see Argo CD's line")
    return seen


def _results(stack: Stack) -> str:
    if stack.asked["results"] is not None:
        # The runner publishes no score that it could not store.
        return f"they go to {stack.asked['results']}; a score in Prometheus shows that they were stored"
    claim = stack.get("persistentvolumeclaim", labels.RESULTS_CLAIM)
    phase = claim["status"].get("phase", "Unknown") if claim else "not there"
    if phase != "Bound":
        raise WorkbenchError(f"the claim {stack.namespace}/{labels.RESULTS_CLAIM} is {phase}: kubectl describe it")
    return f"the claim {labels.RESULTS_CLAIM} is Bound ({claim['status'].get('capacity', {}).get('storage', '?')})"


def _pushed(stack: Stack) -> str:
    pushed = query(stack.context, evaluation.pushes(stack.context.stack), stack.reader())
    found = {series.get("model", ""): when for series, when in pushed}
    missing = [each for each in stack.asked["models"] if each not in found]
    if missing:
        raise WorkbenchError(
            f"Prometheus has no push of {', '.join(missing)}: did the Job end well, does the ServiceMonitor's target"
            " answer (monitoring.prometheus names the pods that may read the gateway)?"
        )
    return f"pushed {_ago(max(found.values()))}, and scraped"


def _scores(stack: Stack) -> str:
    found = report.scores(stack.context, stack.context.stack, stack.reader())
    missing = sorted(set(stack.asked["models"]) - {each.model for each in found})
    if missing:
        raise WorkbenchError(
            f"Prometheus has no score of {', '.join(missing)}: the series `{RUN_SUCCESS.name}` says which run failed"
        )
    counted = f"{len(found)} score{'' if len(found) == 1 else 's'}"
    return f"{counted} of {', '.join(sorted({each.model for each in found}))}\n{report.table(found)}"


def _rules(stack: Stack) -> str:
    file = f"{stack.namespace}-{labels.PROJECT}-"
    answer = json.loads(service_proxy(stack.context, stack.reader(), "/api/v1/rules"))
    groups = [each for each in answer["data"]["groups"] if file in each["file"]]
    if not groups:
        raise WorkbenchError(
            f"Prometheus {stack.reader()} selects them, but has not loaded them: the operator needs a minute for new"
            " rules, and refuses wrong ones (its log says why)"
        )
    broken = [
        f"{rule['name']}: {rule['lastError']}" for group in groups for rule in group["rules"] if rule.get("lastError")
    ]
    if broken:
        raise WorkbenchError("; ".join(broken[:3]))
    return f"{sum(len(each['rules']) for each in groups)} rules in {stack.reader()}"


def _dashboard(stack: Stack) -> str | Note:
    found = stack.get("configmap", labels.DASHBOARD)
    if found is None:
        raise WorkbenchError("its ConfigMap is not there: run `pulumi up`")
    if not (known := grafana.sidecars(stack.context)):
        return Note(grafana.NONE)
    sidecar, fault = grafana.report(known, stack.namespace, found["metadata"].get("labels", {}))
    if sidecar is None:
        raise WorkbenchError(fault)
    folder = found["metadata"].get("annotations", {}).get(labels.DASHBOARD_FOLDER, "")
    if sidecar.folder_annotation != labels.DASHBOARD_FOLDER:
        told = f"its chart lacks folderAnnotation: {labels.DASHBOARD_FOLDER}"
        return f"{sidecar.where} takes it, without the folder {folder!r}: {told}"
    return f"{sidecar.where} takes it into the folder {folder!r}"


def _alert(stack: Stack) -> str:
    way = alarm.Way(
        stack=stack.context.stack,
        namespace=stack.namespace,
        rule_labels=stack.asked["monitored"]["PrometheusRule"],
        prometheus=stack.reader(),
        told=stack.asked["told"],
    )
    return alarm.send(stack.context, way)


def _ago(when: float) -> str:
    seconds = max(0, int(time.time() - when))
    return f"{seconds // 3600} h ago" if seconds >= 7200 else f"{seconds // 60} min ago"


STEPS: Final[Mapping[str, Callable[[Stack], str | Note]]] = {
    "Argo CD": _application,
    "image": _image,
    "Job": _job,
    "results": _results,
    "gateway": _pushed,
    "scores": _scores,
    "rules": _rules,
    "dashboard": _dashboard,
    "alert": _alert,
}
MONITORED: Final = ("gateway", "scores", "rules", "dashboard", "alert")
"""Steps that a stack with `monitoring.enabled: false` does not take."""
