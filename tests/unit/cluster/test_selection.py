"""Which objects a Prometheus reads, by the operator's rules, and the setting that is named when it reads none."""

from typing import Any

import pytest

from workbench.cluster import selection
from workbench.cluster.selection import Reader, StackObjects

LABELS = {"release": "ours", "app.kubernetes.io/name": "vllm-eval"}
WANTED = StackObjects(
    "dev",
    "vllm-eval",
    {"kubernetes.io/metadata.name": "vllm-eval", "team": "ml"},
    {"PrometheusRule": LABELS, "ServiceMonitor": LABELS},
)
ALL: dict[str, Any] = {
    "ruleSelector": {},
    "ruleNamespaceSelector": {},
    "serviceMonitorSelector": {},
    "serviceMonitorNamespaceSelector": {},
}


def prometheus(**spec: object) -> Reader:
    return Reader("monitoring", "main", {key: each for key, each in {**ALL, **spec}.items() if each is not None})


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, **({"values": list(values)} if values else {})}]}


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": None, "matchExpressions": None}, True),
        ({"matchLabels": {"release": "ours"}}, True),
        ({"matchLabels": {"release": "theirs"}}, False),
        ({"matchLabels": {"release": "ours", "role": "rules"}}, False),
        (expression("release", "In", "theirs", "ours"), True),
        (expression("release", "In", "theirs"), False),
        (expression("role", "In", "rules"), False),
        (expression("release", "NotIn", "theirs"), True),
        (expression("release", "NotIn", "ours"), False),
        (expression("role", "NotIn", "rules"), True),
        (expression("release", "Exists"), True),
        (expression("role", "Exists"), False),
        (expression("role", "DoesNotExist"), True),
        (expression("release", "DoesNotExist"), False),
        ({"matchLabels": {"release": "ours"}, **expression("role", "Exists")}, False),
    ],
)
def test_a_selector_selects_as_kubernetes_says(selector: dict[str, Any] | None, selected: bool) -> None:
    assert selection.matches(selector, LABELS) is selected


def test_one_that_reads_everything_has_no_fault() -> None:
    assert selection.faults(prometheus(), WANTED) == []
    found, fault = selection.report([prometheus()], WANTED)
    assert (found, fault) == (prometheus(), "")


@pytest.mark.parametrize("field", ["rule", "serviceMonitor"])
@pytest.mark.parametrize(
    ("suffix", "selector", "said"),
    [
        ("Selector", None, "is not set, which selects no "),
        ("Selector", {"matchLabels": {"role": "r"}}, '{"matchLabels": {"role": "r"}} does not select our '),
        ("NamespaceSelector", None, "is not set, which leaves out every namespace but its own"),
        ("NamespaceSelector", {"matchLabels": {"team": "x"}}, "does not select the namespace vllm-eval"),
    ],
)
def test_each_selector_that_leaves_us_out_is_named(field: str, suffix: str, selector: object, said: str) -> None:
    each = prometheus(**{field + suffix: selector})
    (fault,) = selection.faults(each, WANTED)
    assert fault.startswith(f"its {field}{suffix} ")
    assert said in fault
    found, text = selection.report([each], WANTED)
    assert found is None
    assert fault in text
    assert "monitoring/main" in text
    assert "change these selectors" in text, "no setting of ours would cure it"


def test_its_own_namespace_needs_no_selector() -> None:
    own = Reader("vllm-eval", "main", {"ruleSelector": {}, "serviceMonitorSelector": {}})
    assert selection.faults(own, WANTED) == []


@pytest.mark.parametrize("selector", [{"matchLabels": {"release": "theirs"}}, expression("release", "In", "theirs")])
def test_the_release_that_it_selects_is_the_cure(selector: dict[str, Any]) -> None:
    each = prometheus(ruleSelector=selector, serviceMonitorSelector=selector)
    _, text = selection.report([each], WANTED)
    assert "pulumi config set --stack dev --path 'vllm-eval:monitoring.release' theirs" in text
    assert "labelled release=ours" in text


def test_a_release_that_cures_only_one_half_is_not_proposed() -> None:
    each = prometheus(ruleSelector={"matchLabels": {"release": "theirs"}}, serviceMonitorSelector=None)
    assert "monitoring.release" not in selection.cure(each, WANTED)


def test_two_that_read_one_half_each_are_none() -> None:
    halves = [prometheus(ruleSelector=None), prometheus(serviceMonitorSelector=None)]
    found, text = selection.report(halves, WANTED)
    assert found is None
    assert text.count("monitoring/main does not") == 2


def test_a_stack_without_a_gateway_of_its_own_needs_a_reader_of_its_rule_alone() -> None:
    wanted = StackObjects("dev", "vllm-eval", WANTED.namespace_labels, {"PrometheusRule": LABELS})
    found, _ = selection.report([prometheus(serviceMonitorSelector=None)], wanted)
    assert found is not None
    _, text = selection.report([prometheus(ruleSelector=None)], wanted)
    assert text.startswith("no Prometheus reads our PrometheusRule:")


@pytest.mark.parametrize(
    ("spec", "service"),
    [
        ({}, "monitoring/prometheus-operated:web"),
        ({"portName": "http", "serviceName": "mine"}, "monitoring/mine:http"),
        ({"routePrefix": "/"}, "monitoring/prometheus-operated:web"),
        ({"routePrefix": "/prometheus"}, "monitoring/prometheus-operated:web/prometheus"),
        ({"web": {"tlsConfig": {"keySecret": {}}}}, "monitoring/https:prometheus-operated:web"),
    ],
)
def test_the_service_is_the_one_that_the_operator_makes(spec: dict[str, Any], service: str) -> None:
    assert prometheus(**spec).service == service


def test_an_alertmanager_that_leaves_us_out_is_named_with_its_selector() -> None:
    wanted = StackObjects("dev", "vllm-eval", WANTED.namespace_labels, {"AlertmanagerConfig": LABELS})
    every: dict[str, Any] = {"alertmanagerConfigSelector": {}, "alertmanagerConfigNamespaceSelector": {}}
    assert selection.report_receivers([], wanted)[1].startswith("no Alertmanager is in the cluster")
    bare = Reader("monitoring", "bare", {}, "Alertmanager")
    team = {"alertmanagerConfigSelector": {"matchLabels": {"team": "sre"}}}
    labelled = Reader("monitoring", "labelled", {**every, **team}, "Alertmanager")
    found, fault = selection.report_receivers([bare, labelled], wanted)
    assert found is None
    assert (
        "monitoring/bare: its alertmanagerConfigSelector is not set, which selects no AlertmanagerConfig; its" in fault
    )
    assert (
        'monitoring/labelled: its alertmanagerConfigSelector {"matchLabels": {"team": "sre"}} does not select' in fault
    )
    assert "by vllm-eval:monitoring.labels" in fault
    found, fault = selection.report_receivers([bare, Reader("monitoring", "main", every, "Alertmanager")], wanted)
    assert found is not None
    assert (found.service, fault) == ("monitoring/alertmanager-operated:web", "")
