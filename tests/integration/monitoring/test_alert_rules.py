"""The alert rules: each fires, waits, and is not misled; promtool decides."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import monitoring
from monitoring.alerts import ALERTS
from tests.support.monitoring import promtool
from vllm_eval import metrics

ROOT = Path(__file__).parents[3]
RULES = ROOT / "monitoring" / "alert-rules.yaml"
CASES = Path(__file__).with_name("alerts")
NAMES = [alert.name for alert in ALERTS]
ANNOTATIONS = {"summary", "description", "runbook_url", "dashboard_url"}


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _file(alert: str) -> dict[str, Any]:
    file: dict[str, Any] = yaml.safe_load((CASES / f"{alert}.yaml").read_text(encoding="utf-8"))
    return file


def _cases(alert: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = _file(alert)["tests"]
    return cases


def test_promtool_takes_the_file() -> None:
    said = promtool.run("check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert said.status == 0, said.output
    assert f"{len(_rules())} rules found" in said.output


@pytest.mark.parametrize("alert", NAMES)
def test_alert(alert: str) -> None:
    said = promtool.run("test", "rules", CASES / f"{alert}.yaml")
    assert said.status == 0, said.output


def test_no_other_cases() -> None:
    assert sorted(path.stem for path in CASES.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("alert", NAMES)
def test_every_situation_is_tried(alert: str) -> None:
    cases = _cases(alert)
    for situation in IS:
        tried = [case for case in cases if case["name"].startswith(f"{situation}:")]
        assert tried, f"{alert} has no case named {situation!r}"
    for case in cases:
        questions = [question["alertname"] for question in case["alert_rule_test"]]
        assert set(questions) == {alert}, f"{case['name']} asks about {questions}"


def _labels(case: dict[str, Any]) -> list[dict[str, str]]:
    return [dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', series["series"])) for series in case["input_series"]]


def _answers(case: dict[str, Any]) -> list[int]:
    return [len(question.get("exp_alerts", ())) for question in case["alert_rule_test"]]


def _ends(case: dict[str, Any]) -> bool:
    return any("stale" in str(series["values"]) or "_x" in str(series["values"]) for series in case["input_series"])


KNOWN = {label for metric in (*metrics.METRICS, metrics.EXPECTED) for label in metric.labels}
# What makes a case one of its situation, beside its name.
IS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "fires": lambda case: max(_answers(case)) >= 1,
    "near miss": lambda case: 0 in _answers(case),
    "stray label": lambda case: any(set(labels) - KNOWN for labels in _labels(case)),
    "new tag": lambda case: len({labels.get("model_tag") for labels in _labels(case)} - {None}) >= 2,
    "lost series": _ends,
    "restart": lambda case: any(re.search(r"\d _x\d+ \d", str(s["values"])) for s in case["input_series"]),
    "two models at once": lambda case: max(_answers(case)) >= 2,
}


@pytest.mark.parametrize("alert", NAMES)
def test_every_situation_is_what_its_name_says(alert: str) -> None:
    for case in _cases(alert):
        situation = case["name"].split(":")[0]
        assert situation in IS or situation == "accepted", f"{alert}: {case['name']}"
        assert situation not in IS or IS[situation](case), f"{alert}: {case['name']} is none"


@pytest.mark.parametrize("alert", NAMES)
def test_silence_is_asserted_one_step_before_the_alert(alert: str) -> None:
    steps = {}
    for question in _cases(alert)[0]["alert_rule_test"]:
        steps[_seconds(question["eval_time"])] = bool(question.get("exp_alerts"))
    first = min(at for at, fires in steps.items() if fires)
    before = first - _seconds(_file(alert)["evaluation_interval"])
    assert steps.get(before) is False, f"{alert} fires first at {first} s; nothing is said of {before} s"


def _seconds(text: str) -> int:
    units = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([dhms])", text))


@pytest.mark.parametrize("alert", NAMES)
def test_a_case_states_all_labels_and_annotations(alert: str) -> None:
    fired = [found for case in _cases(alert) for q in case["alert_rule_test"] for found in q.get("exp_alerts", ())]
    assert fired
    for found in fired:
        assert set(found["exp_annotations"]) == ANNOTATIONS
        assert {"severity", "stack", "model"} <= set(found["exp_labels"]), alert


def test_every_alert_has_a_severity_a_hold_and_all_texts() -> None:
    alerts = [rule for rule in _rules() if "alert" in rule]
    assert [rule["alert"] for rule in alerts] == NAMES
    for rule in alerts:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(rule["annotations"]) == ANNOTATIONS
        assert _seconds(rule["for"]) >= 600
        assert rule["annotations"]["runbook_url"] == f"{monitoring.RUNBOOK_URL}#{rule['alert'].lower()}"


def test_rules_name_only_series_of_the_contract() -> None:
    known = {metric.name for metric in (*metrics.METRICS, metrics.EXPECTED)}
    recorded = {rule["record"] for rule in _rules() if "record" in rule}
    for rule in _rules():
        texts = [rule["expr"], *rule.get("annotations", {}).values()]
        for name in re.findall(r"[\w:]*vllm_eval_\w+(?::\w+)?", "\n".join(texts)):
            assert name in known | recorded, f"{rule.get('alert', rule.get('record'))} asks for {name}"


def test_texts_ask_only_for_what_their_own_group_has_recorded_or_for_raw_series() -> None:
    # Groups run side by side: another group's series of this moment may not be there yet.
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        own = {rule["record"] for rule in group["rules"] if "record" in rule}
        for rule in group["rules"]:
            texts = "\n".join([rule["expr"], *rule.get("annotations", {}).values()])
            assert set(re.findall(r"\w+:vllm_eval_\w+:\w+", texts)) <= own, rule.get("alert")


def test_every_recorded_series_is_used_and_none_twice() -> None:
    recorded = [rule["record"] for rule in _rules() if "record" in rule]
    assert len(set(recorded)) == len(recorded)
    everything = "\n".join(rule["expr"] for rule in _rules())
    for name in recorded:
        assert re.search(rf"{re.escape(name)}\b(?!:)", everything), f"nothing uses {name}"
