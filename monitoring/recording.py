"""The recorded series: one value for each task and model, independent of tag, pod and gateway.

Alerts read these through `last`, so that a scrape that fails or a restart of
Prometheus changes no alert.
"""

from typing import Any, Final

from monitoring.promql import RecordedSeries, aggregate, last, number, select
from monitoring.thresholds import Thresholds, Windows, duration
from vllm_eval import metrics

TASK: Final = ("stack", "task", "model")
MODEL: Final = ("stack", "model")
ON_TASK: Final = f"on ({', '.join(TASK)})"
ON_MODEL: Final = f"on ({', '.join(MODEL)})"

SCORE: Final = RecordedSeries(metrics.EXACT_MATCH, TASK)
REFERENCE: Final = RecordedSeries(metrics.EXACT_MATCH, TASK, "reference")
ERROR: Final = RecordedSeries(metrics.EXACT_MATCH, TASK, "reference_error")
FLOOR: Final = RecordedSeries(metrics.EXACT_MATCH, TASK, "floor")
BASELINE: Final = RecordedSeries(metrics.BASELINE_EXACT_MATCH, TASK)
BASELINE_ERROR: Final = RecordedSeries(metrics.BASELINE_EXACT_MATCH, TASK, "error")
BASELINE_FLOOR: Final = RecordedSeries(metrics.BASELINE_EXACT_MATCH, TASK, "floor")
SAMPLES: Final = RecordedSeries(metrics.SAMPLES, TASK)
SAMPLES_LEAST: Final = RecordedSeries(metrics.SAMPLES, TASK, "least")
SAMPLES_SHARE: Final = RecordedSeries(metrics.SAMPLES, TASK, "share")
VERDICT: Final = RecordedSeries(metrics.VERDICT, (*TASK, "verdict"))
SUCCESS: Final = RecordedSeries(metrics.RUN_SUCCESS, TASK)
LAST_RUN: Final = RecordedSeries(metrics.LAST_RUN_TIMESTAMP_SECONDS, MODEL)
REQUEST_TIME: Final = RecordedSeries(metrics.REQUEST_SECONDS, TASK, "median")


def _rule(series: RecordedSeries, expr: str) -> dict[str, Any]:
    return {"record": series.name, "expr": expr}


def _newest(series: RecordedSeries, stack: str, how: str = "max") -> dict[str, Any]:
    # A model has one live tag, since one PUT replaces its whole group; duplicates are
    # copies (an old and a new gateway pod for some seconds, two scrapes of one gateway).
    return _rule(series, aggregate(how, series.by, select(series.metric.name, stack)))


def _share(stack: str) -> str:
    score = select(SCORE.name, stack)
    samples = select(SAMPLES.name, stack)
    expected = aggregate("max", TASK, select(metrics.SAMPLES_EXPECTED.name, stack))
    return f"{samples}\n  / {expected}\nor\n0 * ({score}\n  unless {samples})"


def _reference(stack: str, windows: Windows) -> str:
    """Return what a score is compared with: the score of the day before, kept while the score is below its floor.

    Read from the top, the first that applies:

    1. The pinned baseline moved within a day, because someone accepted a level, or because it
       is young and still takes in runs: that one.
       (Where no score of the day before is known, no baseline is either, and nothing has moved.)
    2. The score is still below the last floor: the last reference. Without it a drop would be
       its own "day before" after 24 h, and heal itself.
    3. The score of the day before.
    """
    score, baseline = select(SCORE.name, stack), select(BASELINE.name, stack)
    unmoved = f"{last(baseline, windows.day, ago=windows.day)}\n  == {baseline}"
    held = last(select(REFERENCE.name, stack), windows.day)
    floor = last(select(FLOOR.name, stack), windows.day)
    before = last(score, windows.day, ago=windows.day)
    return f"({baseline}\n  and {before}\n  unless\n  {unmoved})\nor\n({held}\n  and {score} < {floor})\nor\n{before}"


def _error(stack: str, level: RecordedSeries) -> str:
    """Return the standard error of the difference between two runs of ``n`` items at that level.

    The share is smoothed as (p n + 2) / (n + 4) (Agresti and Coull 1998), since
    an error of zero at 0 % and 100 % would call every flip a drop.
    """
    n = select(SAMPLES_LEAST.name, stack)
    right = f"({select(level.name, stack)} * {n} + 2)"
    wrong = f"({n}\n    - {select(level.name, stack)} * {n} + 2)"
    return f"(2\n  * {right}\n  * {wrong}\n  / ({n} + 4) ^ 2\n  / {n}\n) ^ 0.5"


def _floor(stack: str, level: RecordedSeries, error: RecordedSeries, *, drop: float, errors: float) -> str:
    """Return the lowest score that is no drop below `level`: the lower one of the relative drop and of `errors`.

    0.9 * 0.8 is a little more than 0.72 in binary; a score that is exactly 10 % below is not more than 10 % below.
    """
    by_noise = f"({select(level.name, stack)} - {number(errors)} * {select(error.name, stack)})"
    return f"{number(1 - drop)} * {select(level.name, stack)} - 1e-9\n  <= {by_noise}\nor\n{by_noise}"


def score_rules(stack: str, limits: Thresholds, windows: Windows) -> list[dict[str, Any]]:
    """Return the recording rules by task and model, in the order in which they use each other.

    Parameters
    ----------
    stack
        Label matcher that chooses the stack.
    """
    return [
        _newest(SCORE, stack),
        _newest(SAMPLES, stack, "min"),
        # After a limit was raised or removed, the earlier of the two runs has fewer items, and so more noise.
        _rule(SAMPLES_LEAST, f"min_over_time({select(SAMPLES.name, stack)}[{duration(2 * windows.day)}])"),
        _rule(SAMPLES_SHARE, _share(stack)),
        _newest(BASELINE, stack),
        _newest(VERDICT, stack),
        _rule(REFERENCE, _reference(stack, windows)),
        _rule(ERROR, _error(stack, REFERENCE)),
        _rule(FLOOR, _floor(stack, REFERENCE, ERROR, drop=limits.drop, errors=limits.day_noise)),
        _rule(BASELINE_ERROR, _error(stack, BASELINE)),
        _rule(BASELINE_FLOOR, _floor(stack, BASELINE, BASELINE_ERROR, drop=limits.drop, errors=limits.baseline_noise)),
    ]


def run_rules(stack: str) -> list[dict[str, Any]]:
    """Return the recording rules about runs."""
    median = aggregate("max", TASK, select(metrics.REQUEST_SECONDS.name, stack, 'quantile="0.5"'))
    return [_newest(SUCCESS, stack, "min"), _newest(LAST_RUN, stack), _rule(REQUEST_TIME, median)]
