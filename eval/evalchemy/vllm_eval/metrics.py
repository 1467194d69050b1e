"""The metric contract: every series that vllm-eval exports, named once.

The publisher writes these, the alert rules and the dashboard query them, and
the tests compare all three with this table.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

# "Worse" is a drop of more than this share of the score that it is compared with: for verdicts and alerts alike.
PRACTICAL_DROP: Final = Fraction(1, 10)

RUN: Final = ("stack", "model", "model_tag")
TASK: Final = ("stack", "task", "model", "model_tag")


@dataclass(frozen=True)
class Metric:
    """One exported gauge.

    ``name`` carries the unit as Prometheus' naming rules ask; ``labels`` are
    all labels of a series besides ``job``.
    """

    name: str
    help: str
    labels: tuple[str, ...]


EXACT_MATCH: Final = Metric("vllm_eval_exact_match", "Share of items answered exactly, 0..1.", TASK)
EXACT_MATCH_STDERR: Final = Metric("vllm_eval_exact_match_stderr", "Standard error of vllm_eval_exact_match.", TASK)
SAMPLES: Final = Metric("vllm_eval_samples", "Items that the last good score rests on.", TASK)
SAMPLES_EXPECTED: Final = Metric("vllm_eval_samples_expected", "Items that the task should have had.", TASK)
EMPTY_RESPONSES: Final = Metric("vllm_eval_empty_responses", "Answers without text in the last run.", TASK)
TRUNCATED_RESPONSES: Final = Metric(
    "vllm_eval_truncated_responses", "Answers cut by the token limit in the last run.", TASK
)
BASELINE_EXACT_MATCH: Final = Metric("vllm_eval_baseline_exact_match", "Score of the pinned baseline, 0..1.", TASK)
REGRESSION_PVALUE: Final = Metric(
    "vllm_eval_regression_pvalue", "One-sided p-value of 'worse than the baseline'.", TASK
)
VERDICT: Final = Metric("vllm_eval_verdict", "1 for the verdict that holds, 0 for the others.", (*TASK, "verdict"))
RUN_SUCCESS: Final = Metric("vllm_eval_run_success", "1 if the task's last run passed every check, else 0.", TASK)
SCORE: Final = Metric("vllm_eval_score", "Any other metric of a task.", (*TASK, "metric", "filter"))
RUN_DURATION_SECONDS: Final = Metric("vllm_eval_run_duration_seconds", "Wall time of the last run.", RUN)
LAST_RUN_TIMESTAMP_SECONDS: Final = Metric(
    "vllm_eval_last_run_timestamp_seconds", "When the last run ended (Unix time).", RUN
)
LAST_SUCCESS_TIMESTAMP_SECONDS: Final = Metric(
    "vllm_eval_last_success_timestamp_seconds", "When the last run with every task good ended (Unix time).", RUN
)
REQUESTS_PER_SECOND: Final = Metric(
    "vllm_eval_requests_per_second", "Answers per second of the last run, first to last request.", RUN
)
RUN_INFO: Final = Metric(
    "vllm_eval_run_info",
    "Where the last good score comes from; always 1.",
    (*TASK, "run_id", "git_commit", "task_hash", "engine_version"),
)

CHOICE_MASS: Final = Metric(
    "vllm_eval_choice_mass", "Mean probability of all choices of an item together, 0..1 (one token each).", TASK
)

METRICS: Final = (
    EXACT_MATCH, EXACT_MATCH_STDERR, SAMPLES, SAMPLES_EXPECTED, EMPTY_RESPONSES, TRUNCATED_RESPONSES,
    BASELINE_EXACT_MATCH, REGRESSION_PVALUE, VERDICT, RUN_SUCCESS, SCORE, RUN_DURATION_SECONDS,
    LAST_RUN_TIMESTAMP_SECONDS, LAST_SUCCESS_TIMESTAMP_SECONDS, REQUESTS_PER_SECOND, RUN_INFO,
    CHOICE_MASS,
)  # fmt: skip

VERDICTS: Final = ("better", "same", "worse", "inconclusive", "no_baseline")

# Not pushed: recorded by the rules that the stack renders, one series for each
# model of its settings, so that a model that never ran is missed.
EXPECTED: Final = Metric("vllm_eval_expected", "1 for every model that the stack's settings list.", ("stack", "model"))

PUSH_JOB: Final = "vllm-eval"
