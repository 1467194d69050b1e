"""The alerts: conditions, severities, and texts that help a person who was asleep a minute ago."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from monitoring.promql import aggregate, last, number, select
from monitoring.recording import (
    BASELINE_FLOOR,
    FLOOR,
    LAST_RUN,
    MODEL,
    ON_MODEL,
    ON_TASK,
    REQUEST_TIME,
    SAMPLES_SHARE,
    SCORE,
    SUCCESS,
    TASK,
    VERDICT,
)
from monitoring.thresholds import Thresholds, Windows, duration
from vllm_eval import metrics

CRITICAL: Final = "critical"
WARNING: Final = "warning"
INFO: Final = "info"


@dataclass(frozen=True)
class Alert:
    """One alert before it is rendered.

    Parameters
    ----------
    name
        Also the heading of its section in the runbook.
    group
        ``scores`` (labels stack, task, model) or ``runs``.
    severity
        ``critical`` may wake someone, ``warning`` is for working hours, ``info`` is for the dashboard.
    by_task
        Whether its series carry a task.
    expr
        Makes the expression from the stack's matcher.
    summary, description
        Templates of Prometheus, with the words of `texts.fill`.
    unsettled
        Waits for more than one night instead of minutes.
    """

    name: str
    group: str
    severity: str
    by_task: bool
    expr: Callable[[str, Thresholds, Windows], str]
    summary: str
    description: str
    unsettled: bool = False


def _custom_task_regression(stack: str, _: Thresholds, windows: Windows) -> str:
    score, floor = (last(select(series.name, stack), windows.lookback) for series in (SCORE, FLOOR))
    return f"{score}\n  < {floor}"


def _evaluation_regression(stack: str, _: Thresholds, windows: Windows) -> str:
    score, floor, verdict = (last(select(s.name, stack), windows.lookback) for s in (SCORE, BASELINE_FLOOR, VERDICT))
    worse = last(select(VERDICT.name, stack, 'verdict="worse"'), windows.lookback)
    decided = f"({score}\n  and {ON_TASK}\n  {worse} == 1)"
    undecided = f"({score}\n  < {floor}\n  unless {ON_TASK}\n  {verdict})"
    return f"{decided}\nor\n{undecided}"


def _evaluation_stale(stack: str, _: Thresholds, windows: Windows) -> str:
    expected = select(metrics.EXPECTED.name, stack)
    age = f"(time() - {last(select(LAST_RUN.name, stack), windows.lookback)} > {windows.stale})"
    seen = last(select(LAST_RUN.name, stack), windows.lookback)
    # A model that never ran has an infinite age. A model that was removed from the settings is not missed;
    # where no settings are known (the plain rules file), every model that ever ran can be missed.
    before = last(expected, windows.lookback, ago=windows.grace)
    never = f"({before}\n  and {ON_MODEL} {expected}\n  unless {ON_MODEL} {seen})"
    return "\nor\n".join(
        (f"({age}\n  and {ON_MODEL} {expected})", f"({age}\n  unless on (stack) {expected})", f"{never} * Inf")
    )


def _state(verdict: str) -> Callable[[str, Thresholds, Windows], str]:
    def expr(stack: str, _: Thresholds, windows: Windows) -> str:
        series = select(VERDICT.name, stack, f'verdict="{verdict}"')
        return f"{aggregate('max', TASK, last(series, windows.lookback))} == 1"

    return expr


def _samples_missing(stack: str, limits: Thresholds, windows: Windows) -> str:
    return f"{last(select(SAMPLES_SHARE.name, stack), windows.lookback)} < {number(limits.samples_share)}"


def _failed(stack: str, _: Thresholds, windows: Windows) -> str:
    return f"{last(select(SUCCESS.name, stack), windows.lookback)} == 0"


def _endpoint_slow(stack: str, limits: Thresholds, windows: Windows) -> str:
    """Compare the request times of each task's last run with its usual ones; the task that slowed down least counts.

    If one task takes longer than before, its prompts or answers have become longer; if all do, the endpoint is slow. A
    task that did not exist a day ago has no usual time to compare with.
    """
    time = select(REQUEST_TIME.name, stack)
    usual = f"quantile_over_time(0.5, {time}[{duration(windows.usual)}])"
    known = last(time, windows.lookback, ago=windows.day)
    ratio = f"{usual}\n  / {last(time, windows.lookback)}\n  and {known}"
    return f"{aggregate('max', MODEL, ratio)} < {number(limits.slow_share)}"


ALERTS: Final = (
    Alert(
        name="CustomTaskRegression",
        group="scores",
        severity=WARNING,
        by_task=True,
        expr=_custom_task_regression,
        summary="[task_of_model] fell to [percent]",
        description=(
            "[where]: exact match is [percent] with tag [tag], down from [reference] ([samples] items). "
            "That is more than [drop] below and more than [day_noise] standard errors.[fell] "
            "It stays until the score is back or another level is accepted."
        ),
    ),
    Alert(
        name="EvaluationRegression",
        group="scores",
        severity=CRITICAL,
        by_task=True,
        expr=_evaluation_regression,
        summary="[task_of_model] is worse than its baseline: [percent]",
        description=(
            "[where]: exact match is [percent] with tag [tag], the pinned baseline is [baseline] "
            "([samples] items, p = [pvalue]). More than [drop] below, and not noise.[fell] "
            "It stays until a run decides otherwise or another level is accepted."
        ),
    ),
    Alert(
        name="EvaluationSamplesMissing",
        group="scores",
        severity=WARNING,
        by_task=True,
        expr=_samples_missing,
        summary="The score of [task_of_model] rests on too few items",
        description=(
            "[where]: [percent] of the expected items stand behind the score (tag [tag]). "
            "The score and its comparisons are not to be trusted."
        ),
    ),
    Alert(
        name="EvaluationInconclusive",
        group="scores",
        severity=INFO,
        by_task=True,
        expr=_state("inconclusive"),
        summary="[task_of_model] cannot be told from its baseline",
        description=(
            "[where]: for [unsettled] no comparison with the baseline has decided anything "
            "(tag [tag], [samples] items). The task needs more items, or steadier answers."
        ),
        unsettled=True,
    ),
    Alert(
        name="EvaluationNoBaseline",
        group="scores",
        severity=INFO,
        by_task=True,
        expr=_state("no_baseline"),
        summary="[task_of_model] has no baseline",
        description=(
            "[where]: for [unsettled] this task has had no baseline in its present form (tag [tag]), "
            "so no regression can be found. Accept a run as the baseline."
        ),
        unsettled=True,
    ),
    Alert(
        name="EvaluationFailed",
        group="runs",
        severity=WARNING,
        by_task=True,
        expr=_failed,
        summary="The last evaluation of [task_of_model] failed",
        description=(
            "[where]: the last run did not pass its checks, so its answers became no score. "
            "The score that is shown, [score], is the last good one. The pod's log ends with the reason."
        ),
    ),
    Alert(
        name="EvaluationStale",
        group="runs",
        severity=WARNING,
        by_task=False,
        expr=_evaluation_stale,
        summary="{{ $labels.model }} is not being evaluated",
        description=(
            '[model_where]: {{ if eq (printf "%v" $value) "+Inf" }}the settings list this model, but no run of it is '
            "known: it never ran, or its series were lost{{ else }}its last run ended {{ $value | humanizeDuration }} "
            "ago, and its scores are of that age{{ end }}. A run is missed after [stale]."
        ),
    ),
    Alert(
        name="EvaluationEndpointSlow",
        group="runs",
        severity=WARNING,
        by_task=False,
        expr=_endpoint_slow,
        summary="{{ $labels.model }} answers at [percent] of its usual speed",
        description=(
            "[model_where]: in the last run every task that was there a day before took longer for a request than its "
            "median of [usual]; the one that slowed down least came at [percent] of its speed, less than [slow]. "
            "Scores are not touched by this."
        ),
    ),
)
