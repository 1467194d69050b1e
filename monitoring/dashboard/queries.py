"""The dashboard's queries, apart from the panels that show them. All are on the metric contract."""

from typing import Final

from monitoring import notices
from vllm_eval import metrics

RUN: Final = 'stack="$stack", model=~"$model"'
"""Selects by the dashboard's variables, for series of a run."""
TASK: Final = f'{RUN}, task=~"$task"'
"""The same for series of a task."""
_BY_TASK: Final = "model, task"
_BY_TAG: Final = "model, model_tag, task"
_CONFIDENCE: Final = 1.96


def _of_task(metric: metrics.Metric, by: str = _BY_TAG) -> str:
    return f"max by ({by}) ({metric.name}{{{TASK}}})"


def _of_run(metric: metrics.Metric, by: str = "model, model_tag") -> str:
    return f"max by ({by}) ({metric.name}{{{RUN}}})"


def _share(part: metrics.Metric) -> str:
    # The expected number is of the last run, the score's own of the last good one: their tags may differ.
    return f"{_of_task(part, _BY_TASK)} / {_of_task(metrics.SAMPLES_EXPECTED, _BY_TASK)}"


def _of_responses(part: metrics.Metric) -> str:
    # A run of an earlier version does not say how many answers it had: one for each item.
    every = f"({_of_task(metrics.RESPONSES, _BY_TASK)} or {_of_task(metrics.SAMPLES_EXPECTED, _BY_TASK)})"
    return f"{_of_task(part, _BY_TASK)} / {every}"


def _quantiles(metric: metrics.Metric) -> str:
    return f'max by (model, task, quantile) ({metric.name}{{{TASK}, quantile=~"0.5|0.99"}})'


def _bound(sign: str) -> str:
    score = _of_task(metrics.EXACT_MATCH, _BY_TASK)
    return f"clamp({score} {sign} {_CONFIDENCE} * {_of_task(metrics.EXACT_MATCH_STDERR, _BY_TASK)}, 0, 1)"


def _count(condition: str) -> str:
    return f"count({condition}) or vector(0)"


HEADLINE: Final = f"avg({metrics.EXACT_MATCH.name}{{task='custom_task_1'}}) by (model_tag)"
"""The query that people know; it looks at every stack and model."""

SCORE: Final = _of_task(metrics.EXACT_MATCH)
CHOICE_MASS: Final = _of_task(metrics.CHOICE_MASS, _BY_TASK)
ERROR: Final = f"{_CONFIDENCE} * {_of_task(metrics.EXACT_MATCH_STDERR)}"
UPPER: Final = _bound("+")
LOWER: Final = _bound("-")
BASELINE: Final = _of_task(metrics.BASELINE_EXACT_MATCH)
BASELINE_LINE: Final = _of_task(metrics.BASELINE_EXACT_MATCH, _BY_TASK)
DISTANCE: Final = f"{SCORE} / {BASELINE} - 1"
PVALUE: Final = _of_task(metrics.REGRESSION_PVALUE)
VERDICT_NOW: Final = f"max by ({_BY_TAG}, verdict) ({metrics.VERDICT.name}{{{TASK}}} == 1)"
VERDICT_CODE: Final = f"max by ({_BY_TASK}) (%s)" % " or ".join(
    f'{code} * {metrics.VERDICT.name}{{{TASK}, verdict="{verdict}"}}'
    for code, verdict in enumerate(metrics.VERDICTS, 1)
)
"""1 for the first of `metrics.VERDICTS`, 2 for the second …, 0 where none holds."""
_SCORE_AS_METRIC: Final = f'label_replace({_of_task(metrics.EXACT_MATCH, _BY_TASK)}, "metric", "score", "", "")'
ALL_SCORES: Final = f"max by (model, task, metric, filter) ({metrics.SCORE.name}{{{TASK}}}) or {_SCORE_AS_METRIC}"
"""Every metric of the tasks; many a task has none but its score."""

SAMPLES: Final = _of_task(metrics.SAMPLES)
SAMPLES_SHARE: Final = _share(metrics.SAMPLES)
EMPTY_SHARE: Final = _of_responses(metrics.EMPTY_RESPONSES)
TRUNCATED_SHARE: Final = _of_responses(metrics.TRUNCATED_RESPONSES)
THINKING_SHARE: Final = _of_responses(metrics.THINKING_RESPONSES)
UNFINISHED_SHARE: Final = _of_responses(metrics.UNFINISHED_THOUGHTS)
SUCCESS: Final = f"min by ({_BY_TASK}) ({metrics.RUN_SUCCESS.name}{{{TASK}}})"

FELL: Final = f"max by (model, task, leaf) ({metrics.LEAF_DROP.name}{{{TASK}}})"
LEAVES: Final = f"max by (model, task, leaf) ({metrics.LEAF_EXACT_MATCH.name}{{{TASK}}})"

SPEED: Final = _of_run(metrics.REQUESTS_PER_SECOND)
TOKENS_PER_SECOND: Final = _of_run(metrics.OUTPUT_TOKENS_PER_SECOND)
RESPONSE_TOKENS: Final = _of_task(metrics.RESPONSE_TOKENS, _BY_TASK)
REQUEST_SECONDS: Final = _quantiles(metrics.REQUEST_SECONDS)
FIRST_TOKEN: Final = _quantiles(metrics.TIME_TO_FIRST_TOKEN_SECONDS)
BETWEEN_TOKENS: Final = _quantiles(metrics.INTER_TOKEN_LATENCY_SECONDS)
DURATION: Final = _of_run(metrics.RUN_DURATION_SECONDS)
RUN_AGE: Final = f"time() - {_of_run(metrics.LAST_RUN_TIMESTAMP_SECONDS, 'model')}"
SUCCESS_AGE: Final = f"time() - {_of_run(metrics.LAST_SUCCESS_TIMESTAMP_SECONDS, 'model')}"
OLDEST: Final = f"max({RUN_AGE})"
ORIGIN: Final = (
    "max by (model, model_tag, task, run_id, git_commit, task_hash, engine_version) "
    f"({metrics.RUN_INFO.name}{{{TASK}}})"
)

WORSE: Final = _count(f'max by ({_BY_TASK}) ({metrics.VERDICT.name}{{{TASK}, verdict="worse"}}) == 1')
FAILED: Final = _count(f"{SUCCESS} == 0")
NEVER_RUN: Final = _count(
    f"{metrics.EXPECTED.name}{{{RUN}}} unless on (stack, model) {metrics.LAST_RUN_TIMESTAMP_SECONDS.name}{{{RUN}}}"
)

_FIRING: Final = f'alertname=~"{notices.ALERTS}", alertstate="firing", {RUN}'
ALERTS: Final = f"max by (alertname, model, task) (ALERTS{{{_FIRING}}})"
"""Prometheus' own series of the alerts that fire."""


def _sources(offset: str = "") -> str:
    return f"max by (model, model_tag, git_commit) ({metrics.RUN_INFO.name}{{{TASK}}}{offset})"


CHANGES: Final = f"{_sources()} unless {_sources(' offset $__interval')}"
"""Present for one step when a tag or a commit first stands behind a score."""

_STACKS: Final = metrics.LAST_RUN_TIMESTAMP_SECONDS.name
VARIABLES: Final = {
    "stack": f"label_values({_STACKS}, stack)",
    "model": f'label_values({_STACKS}{{stack="$stack"}}, model)',
    "task": f"label_values({metrics.RUN_SUCCESS.name}{{{RUN}}}, task)",
}
