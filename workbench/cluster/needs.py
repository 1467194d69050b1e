"""What a stack needs in a cluster beside what the program itself checks: storage, and a Prometheus that reads it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from components.labels import INSTANCE, MANAGED_BY, NAME, NAMESPACE_NAME
from workbench.cluster import selection
from workbench.cluster.kubectl import kubectl
from workbench.shell import CommandError, Runner, WorkbenchError

OPERATOR: Final = "/apis/monitoring.coreos.com/v1"
DEFAULT_CLASS: Final = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)


@dataclass(frozen=True)
class Found:
    """What `make up` has to know of stack and cluster.

    `prometheus` is the Service that has the scores, `alertmanager` the one that knows the stack's receivers; `hub` is
    the context of another cluster whose Argo CD has the Application.
    """

    namespace: str
    owner: str
    argocd: str
    seconds: int
    prometheus: str | None
    application: str
    hub: str | None
    alertmanager: str | None = None


def look(runner: Runner, stack: str, asked: Mapping[str, Any], faults: list[str], *, reachable: bool) -> Found:
    """Look for what a stack asks of a cluster.

    Parameters
    ----------
    runner
        Runs kubectl on that cluster.
    stack
        Its name.
    asked
        What `components.settings` says.
    faults
        Takes a sentence with its cure for everything that is missing.
    reachable
        Whether to report a cluster that does not answer; False if that was reported already.
    """
    prometheus = alertmanager = None
    try:
        faults += _missing_classes(runner, stack, asked)
        prometheus = reader(runner, stack, asked, faults)
        alertmanager = teller(runner, stack, asked, faults)
    except WorkbenchError as error:
        faults += [str(error)] if reachable else []
    return Found(
        namespace=asked["namespace"],
        owner=asked["owner"],
        argocd=asked["argocd"],
        seconds=asked["seconds"],
        prometheus=prometheus,
        application=asked["application"],
        hub=asked["hub"],
        alertmanager=alertmanager,
    )


def _missing_classes(runner: Runner, stack: str, asked: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each claim that would stay pending because no StorageClass provides its volume."""
    if not asked["storage_classes"]:
        return
    items = (_get(runner, "/apis/storage.k8s.io/v1/storageclasses") or {"items": []})["items"]
    known = {each["metadata"]["name"]: each["metadata"].get("annotations", {}) for each in items}
    default = any(map(is_default, known.values()))
    listed = ", ".join(sorted(known)) or "none"
    for setting, name in asked["storage_classes"].items():
        cure = f"pulumi config set --stack {stack} --path 'vllm-eval:{setting}' NAME"
        if name is None and not default:
            yield f"the cluster has no default StorageClass, and {setting} names none (it has: {listed}): {cure}"
        elif name is not None and name not in known:
            yield f"{setting} is {name!r}, but the cluster has no such StorageClass (it has: {listed}): {cure}"


def is_default(annotations: Mapping[str, str]) -> bool:
    """Tell whether a StorageClass with these annotations is the cluster's default."""
    return any(annotations.get(key) == "true" for key in DEFAULT_CLASS)


def reader(runner: Runner, stack: str, asked: Mapping[str, Any], faults: list[str]) -> str | None:
    """Return the Service of the Prometheus that reads the stack's rule and, with a gateway of its own, its monitor."""
    answer = _get(runner, f"{OPERATOR}/prometheuses") if asked["monitored"] else None
    if not asked["monitored"] or (answer is None and _get(runner, OPERATOR) is None):
        return None  # there is nothing to read, or the operator's kinds are missing, which the program itself reports
    wanted = _wanted(runner, stack, asked, asked["monitored"])
    found, fault = selection.report(_readers(answer, "Prometheus"), wanted)
    if found is None:
        faults.append(fault)
    elif asked["scraper"] is not None:
        faults += _kept_out(stack, found, asked["scraper"])
    return found.service if found else None


def _kept_out(stack: str, prometheus: selection.Reader, scraper: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each setting by which the gateway's NetworkPolicy refuses the pods of a Prometheus."""
    where = f"{prometheus.namespace}/{prometheus.name}"
    setting = "vllm-eval:monitoring.prometheus"
    if scraper["namespace"] not in {None, prometheus.namespace}:
        yield (
            f"{setting}.namespace is {scraper['namespace']!r}, but the Prometheus {where} is elsewhere, so the"
            f" gateway's NetworkPolicy keeps it out: pulumi config set --stack {stack} --path '{setting}.namespace'"
            f" {prometheus.namespace}"
        )
    has = {
        **(prometheus.spec.get("podMetadata", {}).get("labels") or {}),
        NAME: "prometheus",
        INSTANCE: prometheus.name,
        MANAGED_BY: "prometheus-operator",
        "operator.prometheus.io/name": prometheus.name,
        "prometheus": prometheus.name,
    }
    if not scraper["labels"].items() <= has.items():
        yield (
            f"{setting}.labels is {json.dumps(scraper['labels'])}, which the pods of the Prometheus {where} lack, so"
            f" the gateway's NetworkPolicy keeps it out: pulumi config rm --stack {stack} --path '{setting}.labels'"
        )


def teller(runner: Runner, stack: str, asked: Mapping[str, Any], faults: list[str]) -> str | None:
    """Return the Service of the Alertmanager that reads the stack's receivers."""
    answer = _get(runner, f"{OPERATOR}/alertmanagers") if asked["receivers"] else None
    if not asked["receivers"] or (answer is None and _get(runner, OPERATOR) is None):
        return None
    wanted = _wanted(runner, stack, asked, {selection.RECEIVERS: asked["receivers"]})
    found, fault = selection.report_receivers(_readers(answer, "Alertmanager"), wanted)
    if found is None:
        faults.append(fault)
    return found.service if found else None


def alertmanagers(runner: Runner) -> list[selection.Reader]:
    """Return every Alertmanager of the operator."""
    return _readers(_get(runner, f"{OPERATOR}/alertmanagers"), "Alertmanager")


def _readers(answer: Any, kind: str) -> list[selection.Reader]:  # noqa: ANN401 (JSON)
    items = (answer or {"items": []})["items"]
    return [
        selection.Reader(each["metadata"]["namespace"], each["metadata"]["name"], each["spec"], kind) for each in items
    ]


def _wanted(
    runner: Runner, stack: str, asked: Mapping[str, Any], monitored: Mapping[str, Any]
) -> selection.StackObjects:
    """Return what a stack puts into the cluster; its namespace may be there with further labels."""
    namespace = _get(runner, f"/api/v1/namespaces/{asked['namespace']}")
    labels = {
        **(namespace["metadata"].get("labels", {}) if namespace else {}),
        **asked["namespace_labels"],
        NAMESPACE_NAME: asked["namespace"],
    }
    return selection.StackObjects(stack, asked["namespace"], labels, monitored)


def _get(runner: Runner, path: str) -> Any:  # noqa: ANN401 (JSON)
    """Return what the API server answers to a path, None where there is nothing.

    Raises
    ------
    WorkbenchError
        When the cluster cannot be reached, or does not let us look.
    """
    try:
        return json.loads(kubectl(runner, "get", f"--raw={path}", "--request-timeout=15s"))
    except CommandError as error:
        if "(NotFound)" in error.output:
            return None
        raise WorkbenchError(f"the cluster does not answer {path}: {error.last}") from error
