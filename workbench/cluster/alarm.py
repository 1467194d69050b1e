"""Sends a test alert the whole way of a real one: a rule, the cluster's Prometheus, its Alertmanager, a receiver.

The rule exists for some minutes. When it is deleted, the receiver is told that the alert is resolved.
"""

import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from components import labels
from workbench.cluster import needs, selection
from workbench.cluster.kubectl import kubectl, query, service_proxy
from workbench.shell import CommandError, Runner, WorkbenchError, say, wait_for

NAME: Final = "vllm-eval-verify"
# The alert's name is this and its severity: under one name for both, a critical alert would silence the lesser one (a
# rule of kube-prometheus-stack). The route of `monitoring.receivers` takes every name that begins so (notices.py).
ALERT: Final = "EvaluationTest"
# What takes time: the operator loads the rule, Prometheus evaluates it, Alertmanager waits for the rest of the group.
PROMETHEUS_SECONDS: Final = 300.0
ALERTMANAGER_SECONDS: Final = 120.0
RECEIVER_SECONDS: Final = 180.0
# Requests and not notifications: Alertmanager tries a notification again for ten minutes before it counts it as failed.
_COUNTER: Final = re.compile(r"^alertmanager_notification_requests(_failed)?_total\{([^}]*)\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Way:
    """The way of an alert, from the labels of its rule to the receivers.

    Attributes
    ----------
    stack, namespace
        Its name, and where its rules lie.
    rule_labels
        Labels by which a Prometheus selects the stack's rules.
    prometheus
        The Service of the Prometheus that reads them.
    told
        Severities of each receiver of `monitoring.receivers`.
    model
        Label `model` of the test alert.
    """

    stack: str
    namespace: str
    rule_labels: Mapping[str, str]
    prometheus: str
    told: Mapping[str, Sequence[str]]
    # Another one for each test, so that Alertmanager puts it into a new group, without alerts of earlier tests.
    model: str = field(default_factory=lambda: f"verify-{secrets.token_hex(3)}")

    @property
    def messages(self) -> int:
        """How many messages the stack's receivers get; one where it has none, since another route may send one."""
        return sum(len(severities) for severities in self.told.values()) or 1

    @property
    def severities(self) -> list[str]:
        """Those that some receiver is told; without receivers the lesser one, which wakes nobody."""
        return sorted({each for severities in self.told.values() for each in severities}) or ["warning"]


@dataclass(frozen=True)
class Sent:
    """How many requests an Alertmanager has made, and how many of them failed, by kind of receiver."""

    made: Mapping[str, float]
    failed: Mapping[str, float]

    def since(self, before: "Sent") -> "Sent":
        """Return what was added."""
        return Sent(_more(before.made, self.made), _more(before.failed, self.failed))

    @property
    def arrived(self) -> float:
        """How many were taken."""
        return sum(self.made.values()) - sum(self.failed.values())


def send(runner: Runner, way: Way) -> str:
    """Send a test alert the whole way, and return a sentence that says whom it reached.

    Raises
    ------
    WorkbenchError
        Names the first place that the alert did not get past.
    """
    known = needs.alertmanagers(runner)
    if not known:
        raise WorkbenchError("no Alertmanager is in the cluster (kubectl get alertmanagers -A): nobody would be told")
    before = [_sent(runner, each) for each in known]
    with _rule(runner, way):
        say(f"  {ALERT}: waiting for Prometheus, then for Alertmanager; some minutes")
        firing = f'ALERTS{{alertname=~"{ALERT}.+",model="{way.model}",alertstate="firing"}}'
        _await(
            "Prometheus has not evaluated it: see its page /rules, and the operator's log",
            lambda: len(query(runner, firing, way.prometheus)) >= len(way.severities),
            PROMETHEUS_SECONDS,
        )
        found: list[set[str]] = []

        def arrived() -> bool:
            found[:] = [_receivers(runner, each, way.model) for each in known]
            return any(found)

        _await(
            "Prometheus fires it, but no Alertmanager has it: does the Prometheus name one (`spec.alerting`)?",
            arrived,
            ALERTMANAGER_SECONDS,
        )
        place = next(index for index, names in enumerate(found) if names)
        reached, names = known[place], found[place]
        if missing := {_full(way, name) for name in way.told} - names:
            raise WorkbenchError(
                f"Alertmanager {reached.namespace}/{reached.name} has it, but does not route it to"
                f" {', '.join(sorted(missing))}, only to {', '.join(sorted(names))}: does it select the"
                " AlertmanagerConfig, and did the operator refuse it (its log names it)?"
            )
        return _told(runner, way, reached, before[place], sorted(names))


def rule(way: Way) -> dict[str, Any]:
    """Return the PrometheusRule of the test alert, with the labels by which a Prometheus selects the stack's own."""
    text = "A test by `make verify`: nothing is wrong, and it ends by itself."
    alerts = [
        {
            "alert": f"{ALERT}{each.title()}",
            "expr": "vector(1)",
            "labels": {"severity": each, "stack": way.stack, "namespace": way.namespace, "model": way.model},
            "annotations": {"summary": "A test", "description": text},
        }
        for each in way.severities
    ]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": NAME, "namespace": way.namespace, "labels": {**way.rule_labels, labels.MANAGED_BY: NAME}},
        "spec": {"groups": [{"name": NAME, "interval": "15s", "rules": alerts}]},
    }


@contextmanager
def _rule(runner: Runner, way: Way) -> Iterator[None]:
    kubectl(runner, "apply", "--filename=-", stdin=json.dumps(rule(way)))
    try:
        yield
    finally:
        kubectl(runner, "-n", way.namespace, "delete", "prometheusrules.monitoring.coreos.com", NAME)


def _await(fault: str, probe: Any, seconds: float) -> None:  # noqa: ANN401 (a function)
    try:
        wait_for(ALERT, probe, seconds=seconds, interval=2)
    except WorkbenchError as error:
        raise WorkbenchError(f"{fault} ({error})") from error


def _receivers(runner: Runner, alertmanager: selection.Reader, model: str) -> set[str]:
    """Return whom an Alertmanager tells of the test alert."""
    asked = service_proxy(runner, alertmanager.service, "/api/v2/alerts", filter=f'model="{model}"')
    return {receiver["name"] for alert in json.loads(asked) for receiver in alert["receivers"]}


def _told(
    runner: Runner, way: Way, alertmanager: selection.Reader, before: Sent | None, receivers: Sequence[str]
) -> str:
    """Wait until everything was sent, and say to whom."""
    names = ", ".join(receivers)
    if before is None:
        return (
            f"routed to {names}; whether it was delivered shows there (this account may not read Alertmanager's pods)"
        )
    since = Sent({}, {})

    def done() -> bool:
        nonlocal since
        since = (_sent(runner, alertmanager) or before).since(before)
        return bool(since.failed) or since.arrived >= way.messages

    fault = f"routed to {names}, but nothing was sent to some of them; monitoring.receivers names who is told"
    _await(fault, done, RECEIVER_SECONDS)
    if since.failed:
        where = f"-n {alertmanager.namespace} logs -l alertmanager={alertmanager.name}"
        raise WorkbenchError(
            f"routed to {names}, but {', '.join(since.failed)} refused it or was not reached: is the address in the"
            f" Secret right? The reason is in kubectl {where}"
        )
    return f"routed to {names}; {way.messages} sent by {', '.join(since.made)}"


def _more(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {each: count for each, count in after.items() if count > before.get(each, 0.0)}


def _sent(runner: Runner, alertmanager: selection.Reader) -> Sent | None:
    """Return the counters of an Alertmanager's pods together; None where they cannot be read."""
    selector = f"--selector=alertmanager={alertmanager.name}"
    where = ("-n", alertmanager.namespace, "get", "pods", selector, "-o", "jsonpath={.items[*].metadata.name}")
    scheme = "https:" if alertmanager.spec.get("web", {}).get("tlsConfig") else ""
    prefix = alertmanager.spec.get("routePrefix", "").rstrip("/")
    found = Sent({}, {})
    try:
        for pod in kubectl(runner, *where).split():
            name = f"{scheme}{pod}:" if scheme else pod
            path = f"/api/v1/namespaces/{alertmanager.namespace}/pods/{name}/proxy{prefix}/metrics"
            found = _with(found, kubectl(runner, "get", f"--raw={path}"))
    except CommandError:
        return None
    return found if found.made else None


def _with(found: Sent, page: str) -> Sent:
    made, failed = dict(found.made), dict(found.failed)
    for failure, words, value in _COUNTER.findall(page):
        kind = dict(re.findall(r'(\w+)="([^"]*)"', words)).get("integration", "")
        counts = failed if failure else made
        counts[kind] = counts.get(kind, 0.0) + float(value)
    return Sent(made, failed)


def _full(way: Way, receiver: str) -> str:
    """Return what the operator calls a receiver of an AlertmanagerConfig."""
    return f"{way.namespace}/{labels.PROJECT}/{receiver}"
