"""What a minute of the rules costs a real Prometheus that has seen their longest windows."""

import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import monitoring
from monitoring.recording import BASELINE, FLOOR, REFERENCE, REQUEST_TIME, SAMPLES, SCORE
from monitoring.thresholds import Windows
from tests.support.monitoring import promtool
from tests.support.monitoring.contract import Run
from tests.support.monitoring.prometheus import Prometheus, Sample, gateway, serve, wait_for, write_history

MODELS = [f"model-{number}" for number in range(10)]
TASKS = [f"task-{number}" for number in range(10)]
SERIES = len(MODELS) * len(TASKS)
EVALUATIONS = 20
MOST_SECONDS_FOR_A_THOUSAND = 6.0
"""A tenth of the minute that lies between two evaluations."""


def _past(now: int) -> Iterator[Sample]:
    windows = Windows()
    kept = {SCORE: 0.8, SAMPLES: 500.0, BASELINE: 0.8, REFERENCE: 0.8, FLOOR: 0.72}
    for at in range(now - 2 * windows.day, now, windows.interval):
        for model in MODELS:
            for task in TASKS:
                labels = promtool.labels(stack="prod", task=task, model=model)
                for series, value in kept.items():
                    yield series.name + labels, value, float(at)
    for at in range(now - windows.usual, now, windows.interval):
        for model in MODELS:
            for task in TASKS:
                yield REQUEST_TIME.name + promtool.labels(stack="prod", task=task, model=model), 0.4, float(at)


def _total(server: Prometheus, metric: str) -> float:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=30) as page:  # noqa: S310 (loopback)
        text = page.read().decode()
    return sum(float(value) for value in re.findall(rf"^{metric}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


@pytest.mark.bench
def test_a_minute_of_the_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = int(time.time())
    write_history(tmp_path, _past(now), timeout=600)
    runs = [Run(model, "v1", task, 0.8, now) for model in MODELS for task in TASKS]
    groups = monitoring.rule_groups(stack="prod", models=MODELS)
    rules = promtool.write_rules(tmp_path / "rules.json", [{**group, "interval": "2s"} for group in groups])
    with gateway() as page:
        page.text = "".join(sorted({f"{name} {value!r}\n" for run in runs for name, value in run.series()}))
        with serve(tmp_path, rules=[rules], targets=[page.address], scrape="2s") as server:
            times = "prometheus_rule_group_iterations_total"
            wait_for("evaluations", lambda: _total(server, times) >= EVALUATIONS * len(groups), seconds=300)
            # Of the longest windows, each has its whole past.
            assert server.value(f"min(count_over_time({SAMPLES.name}[2d]))") >= 2 * 1440 - 5  # type: ignore[operator]
            assert server.value(f"count({FLOOR.name})") == SERIES
            spent = _total(server, "prometheus_rule_group_duration_seconds_sum")
            minutes = _total(server, "prometheus_rule_group_duration_seconds_count") / len(groups)
    thousand = spent / minutes * 1000 / SERIES
    with capsys.disabled():
        print(f"\na minute of the rules for {SERIES} series: {spent / minutes:.3f} s, for 1,000: {thousand:.1f} s")
    assert thousand < MOST_SECONDS_FOR_A_THOUSAND
