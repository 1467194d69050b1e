"""The alert rules: each fires, waits, and is not misled; promtool decides."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import monitoring
from monitoring.alerts import ALERTS
from monitoring.thresholds import parse_duration
from tests.support.monitoring import promtool
from vllm_eval import metrics
from workbench.paths import REPOSITORY

RULES = REPOSITORY / "monitoring" / "alert-rules.yaml"
CASES = Path(__file__).with_name("alerts")
NAMES = [alert.name for alert in ALERTS]
ANNOTATIONS = {"summary", "description", "runbook_url", "dashboard_url"}


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


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


def test_every_alert_has_a_severity_a_hold_and_all_texts() -> None:
    alerts = [rule for rule in _rules() if "alert" in rule]
    assert [rule["alert"] for rule in alerts] == NAMES
    for rule in alerts:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(rule["annotations"]) == ANNOTATIONS
        assert parse_duration(rule["for"]) >= 600
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
