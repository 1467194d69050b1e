"""Every query of the rules and the dashboard, on a real Prometheus with two runs of two models behind it."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

import monitoring
from monitoring.alerts import ALERTS
from monitoring.recording import BASELINE, REQUEST_TIME, SCORE
from tests.support.monitoring import board, promtool
from tests.support.monitoring.contract import Run
from tests.support.monitoring.prometheus import Prometheus, Sample, gateway, serve, wait_for, write_history
from tests.support.monitoring.queries import alert_queries, panel_queries, rule_queries
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
    needed = {SCORE.name, BASELINE.name, REQUEST_TIME.name, EXPECTED.name}
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
        wait_for("every alert", lambda: len(running.alerts()) == len(ALERTS), seconds=120)
        yield running


def test_every_rule_is_evaluated_without_error(server: Prometheus) -> None:
    rules = [rule for group in server.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == sum(len(group["rules"]) for group in monitoring.rule_groups(stack="prod", models=MODELS))
    for rule in rules:
        assert rule["health"] == "ok", rule
        assert not rule.get("lastError"), rule


@pytest.mark.parametrize(("name", "expr"), rule_queries("prod", models=MODELS), ids=lambda value: str(value)[:60])
def test_what_rules_ask_and_keep_has_data(server: Prometheus, name: str, expr: str) -> None:
    assert server.query(expr), f"{name}: no data for {expr}"


@pytest.mark.parametrize(("alert", "expr"), alert_queries("prod", models=MODELS), ids=lambda value: str(value)[:40])
def test_every_alert_finds_its_cause(server: Prometheus, alert: str, expr: str) -> None:
    assert server.query(expr), f"{alert}: no data"
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


@pytest.mark.parametrize(
    ("models", "tasks"),
    [([], []), (["google/gemma"], []), (["google/gemma", "qwen"], ["custom_task_1"])],
    ids=["all", "one model", "two models and a task"],
)
def test_every_choice_of_the_dashboard_returns_data(server: Prometheus, models: list[str], tasks: list[str]) -> None:
    for name, expr in panel_queries("prod", models=models, tasks=tasks):
        assert server.query(expr), f"{name}: no data for {expr}"


def test_a_choice_is_nothing_else(server: Prometheus) -> None:
    for name, expr in panel_queries("prod", models=["google/gemm."], tasks=["custom_task_1"]):
        if "count(" not in expr and name not in {"custom_task_1", "variable stack", "variable model"}:
            assert not server.query(expr), f"{name}: {expr} finds what was not chosen"
    for name, expr in panel_queries("dev"):
        if "count(" not in expr and name not in {"custom_task_1", "variable stack"}:
            assert not server.query(expr), f"{name}: {expr} looks at another stack"


def test_the_dashboard_counts_what_is_wrong(server: Prometheus) -> None:
    counted: dict[str, Any] = {
        title: server.value(board.fill(expr)) for title, expr, instant in QUERIES if instant and "count(" in expr
    }
    assert counted == {"Worse than baseline": 1.0, "Failed tasks": 1.0, "Models without a run": 1.0}


def test_all_scores_are_shown_beside_each_other(server: Prometheus) -> None:
    [expr] = [expr for title, expr, _ in QUERIES if title == "All scores"]
    shown = [sample["metric"] for sample in server.query(board.fill(expr, models=["qwen"]))]
    assert sorted((each["metric"], each.get("filter"), each["task"]) for each in shown) == [
        ("f1", "none", "custom_task_1"),
        ("score", None, "custom_task_1"),
    ]


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
    lists = {name.split()[1]: expr for name, expr in panel_queries("prod") if name.startswith("variable ")}
    values = {name: sorted(sample["metric"][name] for sample in server.query(expr)) for name, expr in lists.items()}
    assert values == {
        "stack": ["prod"],
        "model": ["google/gemma", "qwen"],
        "task": ["custom_task_1", "custom_task_2"],
    }
