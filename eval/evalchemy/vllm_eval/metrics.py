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
LEAF: Final = (*TASK, "leaf")


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
OUTPUT_TOKENS_PER_SECOND: Final = Metric(
    "vllm_eval_output_tokens_per_second", "Tokens that all requests of the last run together got in a second.", RUN
)
RESPONSES: Final = Metric("vllm_eval_responses", "Answers of the last run: items times repeats.", TASK)
THINKING_RESPONSES: Final = Metric(
    "vllm_eval_thinking_responses", "Answers of the last run before which the model thought.", TASK
)
UNFINISHED_THOUGHTS: Final = Metric(
    "vllm_eval_unfinished_thoughts", "Answers of the last run that the token limit cut within the thought.", TASK
)
RESPONSE_TOKENS: Final = Metric(
    "vllm_eval_response_tokens", "Mean tokens of an answer of the last run, its thought included.", TASK
)
REQUEST_SECONDS: Final = Metric(
    "vllm_eval_request_seconds", "Time of a whole request in the last run, by quantile.", (*TASK, "quantile")
)
TIME_TO_FIRST_TOKEN_SECONDS: Final = Metric(
    "vllm_eval_time_to_first_token_seconds",
    "Time to the first token in the last run, by quantile.",
    (*TASK, "quantile"),
)
INTER_TOKEN_LATENCY_SECONDS: Final = Metric(
    "vllm_eval_inter_token_latency_seconds",
    "Mean time from token to token of an answer in the last run, by quantile.",
    (*TASK, "quantile"),
)
LEAF_EXACT_MATCH: Final = Metric(
    "vllm_eval_leaf_exact_match", "Score of one task of a group whose settings say so, 0..1.", LEAF
)
LEAF_DROP: Final = Metric(
    "vllm_eval_leaf_drop",
    "Drop below the baseline of the five tasks that a group's own drop comes from, 0..1.",
    LEAF,
)

METRICS: Final = (
    EXACT_MATCH, EXACT_MATCH_STDERR, SAMPLES, SAMPLES_EXPECTED, EMPTY_RESPONSES, TRUNCATED_RESPONSES,
    BASELINE_EXACT_MATCH, REGRESSION_PVALUE, VERDICT, RUN_SUCCESS, SCORE, RUN_DURATION_SECONDS,
    LAST_RUN_TIMESTAMP_SECONDS, LAST_SUCCESS_TIMESTAMP_SECONDS, REQUESTS_PER_SECOND, RUN_INFO,
    CHOICE_MASS,
    OUTPUT_TOKENS_PER_SECOND, RESPONSES, THINKING_RESPONSES, UNFINISHED_THOUGHTS, RESPONSE_TOKENS, REQUEST_SECONDS,
    TIME_TO_FIRST_TOKEN_SECONDS, INTER_TOKEN_LATENCY_SECONDS,
    LEAF_EXACT_MATCH, LEAF_DROP,
)  # fmt: skip

VERDICTS: Final = ("better", "same", "worse", "inconclusive", "no_baseline")

# Not pushed: recorded by the rules that the stack renders, one series for each
# model of its settings, so that a model that never ran is missed.
EXPECTED: Final = Metric("vllm_eval_expected", "1 for every model that the stack's settings list.", ("stack", "model"))

PUSH_JOB: Final = "vllm-eval"
