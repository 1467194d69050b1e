"""Plays made-up histories to the rules, ours and the origin's, through promtool."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from monitoring.promql import ANY_STACK
from monitoring.rules import make_groups
from monitoring.thresholds import Windows
from tests.support.monitoring import promtool
from tests.support.simulation.histories import Day, Task
from vllm_eval import metrics
from vllm_eval.metrics import Metric

STEPS: Final = 12
"""Looks a day: every two hours. The first one of a day still sees the run of the day before."""

ORIGIN: Final = {
    "alert": "Origin",
    "expr": "avg_over_time(vllm_eval_exact_match[1h]) < avg_over_time(vllm_eval_exact_match[24h] offset 24h) * 0.9",
    "for": "10m",
}
"""The plain rule: more than 10 % below the day before, label by label."""

ALERTS: Final = ("Origin", "CustomTaskRegression", "EvaluationRegression")

Firing = dict[str, dict[str, set[int]]]
"""By alert and model: the looks at which it fires."""


def play(folder: Path, tasks: Sequence[Task], *, timeout: float = 120.0) -> Firing:
    """Return when each alert fires for each of the tasks."""
    ours = [group for group in make_groups(ANY_STACK, Windows()) if group["name"] == "vllm-eval-scores"]
    groups = [*ours, {"name": "origin", "rules": [ORIGIN]}]
    rules = promtool.write_rules(folder / "rules.json", groups)
    days = len(tasks[0].days)
    series: dict[str, str] = {}
    for task in tasks:
        assert len(task.days) == days
        series.update(_series(task))
    looks = range(1, days * STEPS + 1)
    hours = 24 // STEPS
    questions = [('ALERTS{alertstate="firing"}', f"{look * hours}h") for look in looks]
    answers = promtool.ask(
        folder, rules=[rules], series=series, interval=f"{hours}h", questions=questions, timeout=timeout
    )
    firing: Firing = {alert: {task.model: set() for task in tasks} for alert in ALERTS}
    for look, answer in zip(looks, answers, strict=True):
        for labels in answer:
            found = dict(labels)
            if found["alertname"] in firing:
                firing[found["alertname"]][found["model"]].add(look)
    return firing


def onsets(looks: set[int]) -> int:
    """Count how often an alert began."""
    return sum(look - 1 not in looks for look in looks)


def _series(task: Task) -> Iterator[tuple[str, str]]:
    places = sorted({(day.tag, day.pod) for day in task.days})
    for tag, pod in places:
        here = [day if (day.tag, day.pod) == (tag, pod) else None for day in task.days]
        for metric, more, values in _metrics(task, here):
            name = metric.name + promtool.labels(stack="s", task="t", model=task.model, model_tag=tag, pod=pod, **more)
            yield name, promtool.values((None, 1), *_run_lengths(values))


def _metrics(task: Task, days: Sequence[Day | None]) -> Iterator[tuple[Metric, dict[str, str], list[float | None]]]:
    yield metrics.EXACT_MATCH, {}, [None if day is None else task.score(day) for day in days]
    yield metrics.SAMPLES, {}, [None if day is None else task.items for day in days]
    yield metrics.BASELINE_EXACT_MATCH, {}, [None if day is None else day.baseline for day in days]
    for verdict in metrics.VERDICTS:
        yield (
            metrics.VERDICT,
            {"verdict": verdict},
            [None if day is None else float(day.verdict == verdict) for day in days],
        )


def _run_lengths(values: Sequence[float | None]) -> Iterator[tuple[float | None, int]]:
    start = 0
    for end in range(1, len(values) + 1):
        if end == len(values) or values[end] != values[start]:
            yield values[start], (end - start) * STEPS
            start = end
