"""Tells whether a Prometheus and an Alertmanager of the cluster select the stack's objects: else no alert arrives.

A selector that is not set selects nothing, and an empty one everything. A namespace
selector that is not set means the namespace of the Prometheus itself.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

Labels = Mapping[str, str]
Selector = Mapping[str, Any] | None

# The field of a spec that selects each kind of object; `<field>NamespaceSelector` goes with it.
FIELDS: Final = {"PrometheusRule": "rule", "ServiceMonitor": "serviceMonitor"}
RECEIVERS: Final = "AlertmanagerConfig"


@dataclass(frozen=True)
class StackObjects:
    """What a stack puts into the cluster: its namespace, and by kind the labels of what a Prometheus shall read."""

    stack: str
    namespace: str
    namespace_labels: Labels
    monitored: Mapping[str, Labels]

    def released(self, release: str) -> "StackObjects":
        """Return the same with another `monitoring.release`."""
        monitored = {kind: {**labels, "release": release} for kind, labels in self.monitored.items()}
        return StackObjects(self.stack, self.namespace, self.namespace_labels, monitored)


@dataclass(frozen=True)
class Reader:
    """A Prometheus or Alertmanager of the operator."""

    namespace: str
    name: str
    spec: Mapping[str, Any]
    kind: str = "Prometheus"

    @property
    def service(self) -> str:
        """The Service that the operator makes for it, as `kubectl.service_proxy` takes it."""
        scheme = "https:" if self.spec.get("web", {}).get("tlsConfig") else ""
        name = self.spec.get("serviceName") or f"{self.kind.lower()}-operated"
        port = self.spec.get("portName") or "web"
        return f"{self.namespace}/{scheme}{name}:{port}{self.spec.get('routePrefix', '').rstrip('/')}"


def matches(selector: Selector, labels: Labels) -> bool:
    """Tell whether a label selector selects these labels."""
    if selector is None:
        return False
    equal = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return equal and all(_holds(each, labels) for each in selector.get("matchExpressions") or [])


def _holds(expression: Mapping[str, Any], labels: Labels) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or []
    return {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }[operator]


def faults(reader: Reader, wanted: StackObjects) -> list[str]:
    """Return a clause for each selector of a Prometheus or Alertmanager that does not select the stack's objects."""
    found = []
    for kind, labels in wanted.monitored.items():
        prefix = "alertmanagerConfig" if kind == RECEIVERS else FIELDS[kind]
        field = f"{prefix}Selector"
        selector = reader.spec.get(field)
        if selector is None:
            found.append(f"its {field} is not set, which selects no {kind}")
        elif not matches(selector, labels):
            release = labels["release"]
            found.append(f"its {field} {_shown(selector)} does not select our {kind}, labelled release={release}")
        field = f"{prefix}NamespaceSelector"
        selector = reader.spec.get(field)
        if selector is None and reader.namespace != wanted.namespace:
            found.append(f"its {field} is not set, which leaves out every namespace but its own")
        elif selector is not None and not matches(selector, wanted.namespace_labels):
            found.append(f"its {field} {_shown(selector)} does not select the namespace {wanted.namespace}")
    return found


def cure(prometheus: Reader, wanted: StackObjects) -> str:
    """Return what to change so that a Prometheus reads what it leaves out: a setting of ours, else its selectors."""
    for release in _releases(prometheus):
        if not faults(prometheus, wanted.released(release)):
            return f"pulumi config set --stack {wanted.stack} --path 'vllm-eval:monitoring.release' {release}"
    release = next(iter(wanted.monitored.values()))["release"]
    return (
        f"change these selectors of the Prometheus so that they take the label release={release} and the namespace"
        f" {wanted.namespace} ({{}} takes all; with kube-prometheus-stack, `prometheus.prometheusSpec` of its values)"
    )


def report(known: list[Reader], wanted: StackObjects) -> tuple[Reader | None, str]:
    """Return the first Prometheus that reads all that the stack has for one; or None, and why none does."""
    if not known:
        return None, (
            "no Prometheus is in the cluster (kubectl get prometheuses -A): nothing would read the alert rules and"
            " scores; install one, such as the chart kube-prometheus-stack,"
            f" or pulumi config set --stack {wanted.stack} --path 'vllm-eval:monitoring.enabled' false"
        )
    for each in known:
        if not faults(each, wanted):
            return each, ""
    lines = [
        f"the Prometheus {each.namespace}/{each.name} does not: {'; '.join(faults(each, wanted))}."
        f"\n      cure: {cure(each, wanted)}"
        for each in known
    ]
    ours = f"{'both ' * (len(wanted.monitored) > 1)}our {' and our '.join(wanted.monitored)}"
    return None, "\n    ".join([f"no Prometheus reads {ours}:", *lines])


def report_receivers(known: list[Reader], wanted: StackObjects) -> tuple[Reader | None, str]:
    """Return the first Alertmanager that reads the stack's AlertmanagerConfig; or None, and why none does."""
    if not known:
        return None, (
            "no Alertmanager is in the cluster (kubectl get alertmanagers -A), so monitoring.receivers would be told"
            " nothing: install one, such as that of the chart kube-prometheus-stack, or"
            f" pulumi config rm --stack {wanted.stack} --path 'vllm-eval:monitoring.receivers'"
        )
    for each in known:
        if not faults(each, wanted):
            return each, ""
    lines = [f"the Alertmanager {each.namespace}/{each.name}: {'; '.join(faults(each, wanted))}" for each in known]
    cure = (
        "cure: let them select it ({} takes all; with kube-prometheus-stack, `alertmanager.alertmanagerSpec` of its"
        " values), or give it the labels that they ask for, by vllm-eval:monitoring.labels"
    )
    return None, "\n    ".join([f"no Alertmanager reads our {RECEIVERS} of monitoring.receivers:", *lines, f"  {cure}"])


def _releases(prometheus: Reader) -> list[str]:
    """Return every value of the label `release` that a selector of the Prometheus names."""
    found = []
    for field in FIELDS.values():
        selector = prometheus.spec.get(f"{field}Selector") or {}
        found += [value for key, value in (selector.get("matchLabels") or {}).items() if key == "release"]
        for each in selector.get("matchExpressions") or []:
            found += each.get("values") or [] if (each["key"], each["operator"]) == ("release", "In") else []
    return found


def _shown(selector: Selector) -> str:
    return json.dumps(selector, sort_keys=True)
