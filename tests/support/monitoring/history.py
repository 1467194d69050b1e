"""Two weeks of two models, as a Prometheus would hold them: one of them becomes worse under a new tag."""

import random
from collections.abc import Iterator
from dataclasses import replace

from tests.support.monitoring.contract import Run
from tests.support.monitoring.prometheus import Sample
from tests.support.monitoring.promtool import labels
from vllm_eval.metrics import EXPECTED

DAY = 86_400
# As often as the drawn page asks, and a second before: Prometheus takes what is older than five minutes for gone.
STEP = 3_600
MODELS = ("google/gemma-3-27b-it", "qwen3-32b")
_LEVELS = {(MODELS[0], "custom_task_1"): 0.78, (MODELS[0], "custom_task_2"): 0.64,
           (MODELS[1], "custom_task_1"): 0.71, (MODELS[1], "custom_task_2"): 0.69}  # fmt: skip


def fortnight(now: float) -> Iterator[Sample]:
    """Iterate over every sample of the two weeks before ``now`` (Unix seconds)."""
    moments = [now - 1 - STEP * index for index in range(14 * DAY // STEP)]
    for (model, task), level in _LEVELS.items():
        for day in range(14):
            run = _run(model, task, level, day, now)
            until = run.ended + DAY if day < 13 else now
            for at in (at for at in moments if run.ended <= at < until):
                for series, value in run.series():
                    yield series, value, at
                if run.verdict == "worse" and at - run.ended >= 4_000:
                    named = {"alertname": "EvaluationRegression", "alertstate": "firing", "stack": "prod"}
                    yield f"ALERTS{labels(**named, model=model, task=task)}", 1.0, at
    for model in MODELS:
        for at in moments:
            yield EXPECTED.name + labels(stack="prod", model=model), 1.0, at


def _run(model: str, task: str, level: float, day: int, now: float) -> Run:
    luck = random.Random(f"{model}{task}{day}")  # noqa: S311 - no secret
    ended = now - (14 - day) * DAY + luck.randint(300, 900)
    noise = luck.gauss(0, 0.008)
    run = Run(model, "v1", task, round(level + noise, 3), ended, baseline=level, speed=18 + luck.random() * 3)
    run = replace(run, verdict="no_baseline" if day == 0 else "same")
    if model == MODELS[0] and day >= 10:
        worse = task == "custom_task_1"
        run = replace(run, tag="v2", commit="f00d", score=round(level - 0.12 * worse + noise, 3), speed=24.0)
        run = replace(run, verdict="worse" if worse else "inconclusive")
    if model == MODELS[1] and task == "custom_task_2" and day == 6:
        run = replace(run, success=False)
    return run
