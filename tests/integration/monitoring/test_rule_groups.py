"""The rules of one stack: the shipped ones, looking at that stack alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import monitoring
from monitoring.thresholds import parse_duration
from tests.support.monitoring import promtool
from tests.support.monitoring.contract import Run
from vllm_eval import metrics
from workbench.paths import REPOSITORY

ODD_NAME = 'a"b\\c d/ü'
SHIPPED = REPOSITORY / "monitoring" / "alert-rules.yaml"


def _each(groups: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for group in groups:
        yield from group["rules"]


def test_rules_of_a_stack_are_the_shipped_ones_with_a_selector() -> None:
    shipped = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["groups"]
    own = [group for group in monitoring.rule_groups(stack="s", models=["m"]) if group["name"] != "vllm-eval-expected"]
    assert [group["name"] for group in own] == [group["name"] for group in shipped]
    for one, other in zip(_each(own), _each(shipped), strict=True):
        plain = one["expr"].replace('{stack="s"}', "").replace('{stack="s", ', "{")
        assert {**one, "expr": plain} == other


def test_every_selector_of_a_stack_names_it() -> None:
    for rule in _each(monitoring.rule_groups(stack="s", models=[])):
        expr = rule["expr"]
        for metric in (*metrics.METRICS, metrics.EXPECTED):
            start = 0
            while (start := expr.find(metric.name, start)) >= 0:
                rest = expr[start:].lstrip("abcdefghijklmnopqrstuvwxyz_:")
                assert rest.startswith('{stack="s"'), f"{rule}: {metric.name} is not selected by stack"
                start += 1


def test_every_model_is_expected() -> None:
    first, *_ = monitoring.rule_groups(stack="prod", models=["a/b", "c"])
    assert first["rules"] == [
        {"record": "vllm_eval_expected", "expr": "vector(1)", "labels": {"stack": "prod", "model": "a/b"}},
        {"record": "vllm_eval_expected", "expr": "vector(1)", "labels": {"stack": "prod", "model": "c"}},
    ]


def test_no_models_no_expectations() -> None:
    names = [group["name"] for group in monitoring.rule_groups(stack="prod", models=[])]
    assert names == ["vllm-eval-scores", "vllm-eval-runs"]


def test_links_are_the_ones_that_were_given() -> None:
    groups = monitoring.rule_groups(
        stack="s", models=[], runbook_url="https://wiki/runbook", dashboard_url="https://grafana/d/vllm-eval"
    )
    for rule in _each(groups):
        if "alert" in rule:
            assert rule["annotations"]["runbook_url"] == f"https://wiki/runbook#{rule['alert'].lower()}"
            assert rule["annotations"]["dashboard_url"].startswith("https://grafana/d/vllm-eval?var-stack={{")
            assert "report_url" not in rule["annotations"]


@pytest.mark.parametrize(
    ("language", "summary"),
    [("en", "The last evaluation of t of org/한 m failed"), ("ko", "org/한 m의 t 평가가 마지막 실행에서 실패했습니다")],
)
def test_every_alert_speaks_and_leads_to_the_reports_of_its_model(tmp_path: Path, language: str, summary: str) -> None:
    address = "https://reports.example.com/"
    groups = monitoring.rule_groups(stack="prod", models=[], report_url=address, language=language)
    assert all("report_url" in rule["annotations"] for rule in _each(groups) if "alert" in rule)
    promtool.write_rules(tmp_path / "rules.json", groups)
    failed = 'vllm_eval_run_success{stack="prod",model="org/한 m",model_tag="v",task="t"}'
    test = {
        "rule_files": ["rules.json"],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": failed, "values": "0x60"}],
                "alert_rule_test": [{"eval_time": "1h", "alertname": "EvaluationFailed", "exp_alerts": []}],
            }
        ],
    }
    (tmp_path / "test.json").write_text(json.dumps(test))
    said = promtool.run("test", "rules", tmp_path / "test.json").output
    assert "https://reports.example.com/index.html#prod/org%2F%ED%95%9C+m" in said
    assert summary in said
    checked = promtool.run("check", "rules", "--lint=all", "--lint-fatal", tmp_path / "rules.json")
    assert checked.status == 0, checked.output


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"stack": ""}, "stack is empty"),
        (
            {"models": ["a", "b", "a"]},
            "models lists a more than once: a model has one series by name; remove the second",
        ),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        monitoring.rule_groups(**{"stack": "s", "models": ["a"], **wrong})


def test_a_weekly_stack_misses_a_run_after_the_time_that_it_says() -> None:
    rules = {rule.get("alert"): rule for rule in _each(monitoring.rule_groups(stack="s", models=["m"], stale="10d"))}
    assert "> 864000" in rules["EvaluationStale"]["expr"]
    assert "A run is missed after 10d." in rules["EvaluationStale"]["annotations"]["description"]
    assert rules["EvaluationInconclusive"]["for"] == rules["EvaluationNoBaseline"]["for"] == "10d"


def test_a_drill_changes_windows_and_nothing_else() -> None:
    usual = monitoring.rule_groups(stack="s", models=["m"])
    drill = monitoring.rule_groups(stack="s", models=["m"], day="10m")
    assert [group["interval"] for group in drill] == ["5s"] * 3
    for one, other in zip(_each(usual), _each(drill), strict=True):
        assert {**one, "expr": "", "for": "", "annotations": ""} == {**other, "expr": "", "for": "", "annotations": ""}
        if "for" in one:
            assert parse_duration(other["for"]) == max(1, round(parse_duration(one["for"]) / 144))


@pytest.mark.parametrize("stack", ["prod", ODD_NAME])
@pytest.mark.parametrize("day", ["24h", "10m", "2m"])
def test_promtool_takes_the_rules_of_any_stack(tmp_path: Path, stack: str, day: str) -> None:
    groups = monitoring.rule_groups(stack=stack, models=["google/gemma", ODD_NAME], day=day)
    rules = promtool.write_rules(tmp_path / "rules.json", groups)
    said = promtool.run("check", "rules", "--lint=all", "--lint-fatal", rules)
    assert said.status == 0, said.output


FIRING = 'count by (alertname, stack, model) (ALERTS{alertstate="firing"})'


def test_rules_of_several_stacks_in_one_prometheus_double_no_alert(tmp_path: Path) -> None:
    series = {}
    for stack in ("prod", ODD_NAME, "unruled"):
        for model, verdict in (("a", "worse"), ("b", "same")):
            before = dict(Run(model, "v1", "t", 0.8, 0.0, stack=stack, verdict="same").series())
            after = dict(Run(model, "v1", "t", 0.7, 0.0, stack=stack, verdict=verdict).series())
            series.update({name: promtool.values((value, 289), (after[name], 20)) for name, value in before.items()})
    stacks = ("prod", ODD_NAME)
    files = [
        # promtool keeps groups apart by file and name, as Prometheus does.
        promtool.write_rules(tmp_path / f"rules-{number}.json", monitoring.rule_groups(stack=stack, models=["a", "b"]))
        for number, stack in enumerate(stacks)
    ]
    [answer] = promtool.ask(tmp_path, rules=files, series=series, interval="5m", questions=[(FIRING, "1d1h")])
    firing = {tuple(dict(key)[name] for name in ("alertname", "stack", "model")): each for key, each in answer.items()}
    assert firing == {("EvaluationRegression", stack, "a"): 1.0 for stack in stacks} | {
        ("CustomTaskRegression", stack, model): 1.0 for stack in stacks for model in ("a", "b")
    }
