"""The shipped rules on a day of minutes, as a drill sets it: what is told, and within how many seconds."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import monitoring
from monitoring.thresholds import Windows
from tests.support.monitoring import promtool
from tests.support.monitoring.contract import Run
from workbench.paths import REPOSITORY

EVALUATION = 5
"""Seconds between two evaluations of the rules; the drill's scrapes are as far apart."""
PAGE = REPOSITORY / "docs" / "alerts-compared.md"
DAYS = ["2m", "5m", "10m"]
FIRING = 'ALERTS{alertstate="firing"}'

Span = tuple[int, int]
"""The first and the last second at which an alert fires."""
Timeline = Sequence[tuple[int, Run | None]]
"""From which second on the gateway shows which run; None is a scrape that failed."""


def _run(
    ended: int, score: float = 0.8, verdict: str = "same", *, baseline: float | None = 0.8, success: bool = True
) -> Run:
    return Run(
        "a", "v1", "t", score, ended, stack="local", samples=100, expected=100,
        verdict=verdict, baseline=baseline, success=success,
    )  # fmt: skip


def _first() -> Run:
    return _run(0, verdict="no_baseline", baseline=None)


def _series(timeline: Timeline, end: int, scrape: int) -> dict[str, str]:
    spans = [
        (dict(run.series()) if run else {}, start, until)
        for (start, run), until in zip(timeline, [*(at for at, _ in timeline[1:]), end], strict=True)
    ]
    names = {name for shown, _, _ in spans for name in shown}
    return {name: " ".join(_values(name, spans, scrape)) for name in names}


def _values(name: str, spans: Sequence[tuple[dict[str, float], int, int]], scrape: int) -> Iterator[str]:
    for shown, start, until in spans:
        scrapes = (until - start) // scrape
        # Prometheus ends every series of a target whose scrape failed.
        yield (
            promtool.values((shown[name], scrapes))
            if name in shown
            else f"stale {promtool.values((None, scrapes - 1))}"
        )


def _told(folder: Path, timeline: Timeline, *, day: str, end: int, scrape: int = EVALUATION) -> dict[str, list[Span]]:
    """Return when each alert fires: of model ``a`` by its name, of the model that never ran as "unheard"."""
    groups = monitoring.rule_groups(stack="local", models=["a", "unheard"], day=day, scrape=scrape)
    rules = promtool.write_rules(folder / "rules.json", groups)
    looks = range(0, end, EVALUATION)
    answers = promtool.ask(
        folder,
        rules=[rules],
        series=_series(timeline, end, scrape),
        interval=f"{EVALUATION}s",
        scrape=f"{scrape}s",
        questions=[(FIRING, f"{at}s") for at in looks],
    )
    told: dict[str, list[Span]] = {}
    for at, answer in zip(looks, answers, strict=True):
        for labels in map(dict, answer):
            spans = told.setdefault(labels["alertname"] if labels["model"] == "a" else labels["model"], [])
            if spans and spans[-1][1] == at - EVALUATION:
                spans[-1] = (spans[-1][0], at)
            else:
                spans.append((at, at))
    return told


@pytest.mark.parametrize("day", DAYS)
def test_a_drill_tells_each_fault_within_two_evaluations_and_ends_within_one(tmp_path: Path, day: str) -> None:
    windows = Windows.scaled(day)
    again, drop, cure, dead, alive = (
        windows.day // 2, windows.day + 60, windows.day + 120, windows.day + 180, windows.day + 240,
    )  # fmt: skip
    missed = alive + windows.stale
    end = missed + 60
    timeline: Timeline = [
        (0, _first()),
        (again, _run(again)),
        (drop, _run(drop, 0.6, "worse")),
        (cure, _run(cure)),
        (dead, _run(dead, success=False)),
        (alive, _run(alive)),
    ]
    told = _told(tmp_path, timeline, day=day, end=end)
    last = end - EVALUATION
    assert told == {
        "CustomTaskRegression": [(drop + EVALUATION, cure - EVALUATION)],
        "EvaluationRegression": [(drop + EVALUATION, cure - EVALUATION)],
        "EvaluationFailed": [(dead + EVALUATION, alive - EVALUATION)],
        "EvaluationStale": [(missed + 2 * EVALUATION, last)],
        "unheard": [(windows.grace + EVALUATION, last)],
    }


@pytest.mark.parametrize("day", DAYS)
def test_a_drop_on_the_first_day_is_told_by_the_baseline_at_once_and_by_the_day_when_it_is_over(
    tmp_path: Path, day: str
) -> None:
    length = Windows.scaled(day).day
    timeline: Timeline = [(0, _first()), (60, _run(60, 0.6, "worse"))]
    told = _told(tmp_path, timeline, day=day, end=length + 60)
    last = length + 60 - EVALUATION
    assert told["EvaluationRegression"] == [(60 + EVALUATION, last)]
    assert told["CustomTaskRegression"] == [(length + EVALUATION, last)]


@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize("scrape", [5, 30])
def test_a_scrape_that_fails_changes_no_alert(tmp_path: Path, day: str, scrape: int) -> None:
    length = Windows.scaled(day).day
    drop, gap = length + 60, length + 120
    worse = _run(drop, 0.6, "worse", success=False)
    timeline: Timeline = [(0, _first()), (drop, worse), (gap, None), (gap + 2 * scrape, worse)]
    end = gap + 6 * scrape
    told = _told(tmp_path, timeline, day=day, end=end, scrape=scrape)
    for alert in ("CustomTaskRegression", "EvaluationRegression", "EvaluationFailed"):
        assert told[alert] == [(drop + EVALUATION, end - EVALUATION)], f"{alert} paused for a failed scrape"


def test_the_page_tells_these_times() -> None:
    rows = re.findall(r"^\| (\w+)(, never ran)? \| .* \| (\d+) s \| (\d+) s \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    told = {alert + more: (int(short), int(long)) for alert, more, short, long in rows}
    short, long = Windows.scaled("5m"), Windows.scaled("10m")
    assert told == {
        "CustomTaskRegression": (EVALUATION, EVALUATION),
        "EvaluationRegression": (EVALUATION, EVALUATION),
        "EvaluationFailed": (EVALUATION, EVALUATION),
        "EvaluationStale": (short.stale + 2 * EVALUATION, long.stale + 2 * EVALUATION),
        "EvaluationStale, never ran": (short.grace + EVALUATION, long.grace + EVALUATION),
    }
