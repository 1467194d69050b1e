"""Every query of the rules and the dashboard, on a real Prometheus with two runs of two models behind it."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

import monitoring
from monitoring.alerts import ALERTS
from monitoring.recording import BASELINE, SCORE, SPEED
from tests.monitoring.support import board, promtool
from tests.monitoring.support.contract import Run
from tests.monitoring.support.prometheus import Prometheus, Sample, gateway, serve, wait_for, write_history
from vllm_eval.metrics import EXPECTED

DAY = 86_400
STEP = 300
MODELS = ["google/gemma", "qwen", "unheard"]
QUERIES = list(board.queries(board.load()))


def _runs(now: int) -> list[tuple[float, list[Run]]]:
    """Return what a gateway shows from which time on: such that, in the end, every alert has a cause."""
    first, second = now - 2.5 * DAY, now - 0.5 * DAY
    gemma, qwen = "google/gemma", "qwen"
    worse = Run(gemma, "v2", "custom_task_1", 0.6, second, verdict="worse", speed=5, commit="f00")
    short = Run(gemma, "v2", "custom_task_2", 0.7, second, verdict="inconclusive", samples=450, speed=5)
    failed = Run(qwen, "v1", "custom_task_1", 0.9, second, verdict="no_baseline", success=False)
    return [
        (
            first,
            [
                Run(gemma, "v1", "custom_task_1", 0.8, first),
                Run(gemma, "v1", "custom_task_2", 0.7, first, verdict="inconclusive"),
                Run(qwen, "v1", "custom_task_1", 0.9, first, verdict="better", baseline=0.7),
            ],
        ),
        (second, [worse, short, failed]),
    ]


def _history(now: int) -> Iterator[Sample]:
    runs = _runs(now)
    ends = [*(start for start, _ in runs[1:]), now]
    for (start, shown), end in zip(runs, ends, strict=True):
        series = {name: value for run in shown for name, value in run.series()}
        for at in range(int(start), int(end), STEP):
            for name, value in series.items():
                yield name, value, float(at)


def _before(groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the recording rules whose past the alerts look at; backfilling them all would take half a minute."""
    needed = {SCORE.name, BASELINE.name, SPEED.name, EXPECTED.name}
    rules = [rule for group in groups for rule in group["rules"] if rule.get("record") in needed]
    return {"name": "past", "interval": f"{STEP}s", "rules": rules}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    now = int(time.time())
    groups = monitoring.rule_groups(stack="prod", models=MODELS)
    write_history(folder, _history(now))
    past = promtool.write_rules(folder / "past.json", [_before(groups)])
    with serve(folder) as reader:
        span = [f"--start={now - 1.1 * DAY:.0f}", f"--end={now}"]
        into = [f"--url={reader.url}", f"--output-dir={folder / 'data'}"]
        said = promtool.run("tsdb", "create-blocks-from", "rules", *span, *into, past)
        assert said.status == 0, said.output
    live = promtool.write_rules(folder / "live.json", [{**group, "interval": "1s"} for group in groups])
    _, shown = _runs(now)[-1]
    with gateway() as page, serve(folder, rules=[live], targets=[page.address]) as running:
        page.text = "".join(f"{name} {value!r}\n" for run in shown for name, value in run.series())
        wait_for("every alert", lambda: len(running.alerts()) == len(ALERTS))
        yield running


def test_every_rule_is_evaluated_without_error(server: Prometheus) -> None:
    rules = [rule for group in server.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == sum(len(group["rules"]) for group in monitoring.rule_groups(stack="prod", models=MODELS))
    for rule in rules:
        assert rule["health"] == "ok", rule
        assert not rule.get("lastError"), rule


def test_every_recorded_series_has_data(server: Prometheus) -> None:
    for group in monitoring.rule_groups(stack="prod", models=MODELS):
        for rule in group["rules"]:
            if "record" in rule:
                assert server.query(rule["record"]), f"{rule['record']} has no data"
                assert server.query(rule["expr"]), f"{rule['expr']} gives no data"


@pytest.mark.parametrize("alert", [alert.name for alert in ALERTS])
def test_every_alert_finds_its_cause(server: Prometheus, alert: str) -> None:
    rules = {
        rule.get("alert"): rule
        for group in monitoring.rule_groups(stack="prod", models=MODELS)
        for rule in group["rules"]
    }
    assert server.query(rules[alert]["expr"]), f"{alert}: no data"
    active = server.alerts()
    assert alert in active, f"{alert} is not active; active are {sorted(active)}"
    texts = active[alert]["annotations"]
    assert not any("<error" in text or "<no value>" in text or "{{" in text for text in texts.values()), texts


def test_alert_texts_carry_the_numbers(server: Prometheus) -> None:
    texts = server.alerts()["CustomTaskRegression"]["annotations"]
    assert "exact match is 60% with tag v2, down from 80% (500 items)" in texts["description"]


@pytest.mark.parametrize(("title", "expr", "instant"), QUERIES, ids=lambda value: str(value)[:40])
def test_every_query_of_the_dashboard_returns_data(server: Prometheus, title: str, expr: str, instant: bool) -> None:
    asked = board.fill(expr)
    if instant:
        assert server.query(asked), f"{title}: no data for {asked}"
        return
    end = time.time()
    # Alerts are only pending here: they wait for their hold.
    asked = asked.replace('alertstate="firing"', 'alertstate="pending"')
    answer = server.get("query_range", query=asked, start=str(end - 750 * STEP), end=str(end), step=str(STEP))
    assert answer["resultType"] == "matrix"
    assert answer["result"], f"{title}: no data for {asked}"


def test_the_dashboard_counts_what_is_wrong(server: Prometheus) -> None:
    counted: dict[str, Any] = {
        title: server.value(board.fill(expr)) for title, expr, instant in QUERIES if instant and "count(" in expr
    }
    assert counted == {"Worse than baseline": 1.0, "Failed tasks": 1.0, "Models without a run": 1.0}


def test_marks_stand_where_tag_or_commit_changed(server: Prometheus) -> None:
    [expr] = [expr for title, expr, _ in QUERIES if title == "New tag or commit"]
    end = time.time()
    answer = server.get("query_range", query=board.fill(expr), start=str(end - 2 * DAY), end=str(end), step=str(STEP))
    marks = {
        (s["metric"]["model"], s["metric"]["model_tag"], s["metric"]["git_commit"]): len(s["values"])
        for s in answer["result"]
    }
    assert marks == {("google/gemma", "v2", "f00"): 1, ("google/gemma", "v2", "c0ffee"): 1}


def test_the_dashboards_variables_have_values(server: Prometheus) -> None:
    values = {}
    for variable in board.load()["templating"]["list"][1:]:
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        assert found
        values[found[2]] = sorted({sample["metric"][found[2]] for sample in server.query(board.fill(found[1]))})
    assert values == {
        "stack": ["prod"],
        "model": ["google/gemma", "qwen"],
        "task": ["custom_task_1", "custom_task_2"],
    }
