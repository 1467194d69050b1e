"""The metric text of one model's group, a pure function of the model's runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from vllm_eval import metrics
from vllm_eval.leaves import SHOWN_LEAVES, fallen
from vllm_eval.metrics import Metric
from vllm_eval.records import RunResult, TaskResult
from vllm_eval.speech import QUANTILES, Speed


@dataclass
class PushGroup:
    """What one PUT to the Pushgateway replaces: values by metric and labels, each series once."""

    values: dict[Metric, dict[tuple[str, ...], float]] = field(default_factory=dict)

    def set(self, metric: Metric, labels: dict[str, str], value: float | None) -> None:
        """Add one series; None adds nothing, since a missing value is not zero."""
        if value is None or not math.isfinite(value):
            return
        key = tuple(labels[name] for name in metric.labels)
        self.values.setdefault(metric, {})[key] = value

    def text(self) -> str:
        """Return the Prometheus text format, version 0.0.4, families in the contract's order."""
        lines: list[str] = []
        for metric in metrics.METRICS:
            series = self.values.get(metric)
            if not series:
                continue
            lines += [f"# HELP {metric.name} {_help(metric.help)}", f"# TYPE {metric.name} gauge"]
            for key, value in series.items():
                labels = ",".join(f'{name}="{_label(text)}"' for name, text in zip(metric.labels, key, strict=True))
                lines.append(f"{metric.name}{{{labels}}} {value!r}")
        return "\n".join(lines) + "\n" if lines else ""


def build_group(runs: Sequence[RunResult]) -> PushGroup:
    """Build the group of one model.

    Parameters
    ----------
    runs
        All ended runs of the model, by start. The last says which tasks there
        are; the last good result of each task gives its score.
    """
    group = PushGroup()
    if not runs:
        return group
    last = runs[-1]
    of_run = {"stack": last.stack, "model": last.model["name"], "model_tag": last.model["tag"]}
    for task in last.tasks:
        _task_series(group, runs, task, of_run)
    group.set(metrics.RUN_DURATION_SECONDS, of_run, last.duration)
    group.set(metrics.LAST_RUN_TIMESTAMP_SECONDS, of_run, last.ended)
    success = next((run for run in reversed(runs) if run.complete), None)
    if success is not None:
        group.set(metrics.LAST_SUCCESS_TIMESTAMP_SECONDS, {**of_run, "model_tag": success.model["tag"]}, success.ended)
    asked = next((run for run in reversed(runs) if run.requests_per_second is not None), None)
    if asked is not None:
        group.set(metrics.REQUESTS_PER_SECOND, {**of_run, "model_tag": asked.model["tag"]}, asked.requests_per_second)
        tokens = asked.output_tokens_per_second
        group.set(metrics.OUTPUT_TOKENS_PER_SECOND, {**of_run, "model_tag": asked.model["tag"]}, tokens)
    return group


def _task_series(group: PushGroup, runs: Sequence[RunResult], task: str, of_run: dict[str, str]) -> None:
    last = runs[-1].tasks[task]
    labels = {**of_run, "task": task}
    group.set(metrics.RUN_SUCCESS, labels, float(last.good))
    good = [run for run in runs if task in run.tasks and run.tasks[task].good]
    judged = last if last.cause in {None, "verification"} else None
    if judged is not None:
        group.set(metrics.EMPTY_RESPONSES, labels, float(judged.empty))
        group.set(metrics.TRUNCATED_RESPONSES, labels, float(judged.truncated))
        _speech_series(group, judged, labels)
    if last.expected is not None:
        group.set(metrics.SAMPLES_EXPECTED, labels, float(last.expected))
    if not good:
        return
    run = good[-1]
    result = run.tasks[task]
    scored = {**labels, "model_tag": run.model["tag"]}
    group.set(metrics.EXACT_MATCH, scored, result.score)
    group.set(metrics.EXACT_MATCH_STDERR, scored, result.stderr)
    group.set(metrics.SAMPLES, scored, float(result.samples))
    group.set(metrics.CHOICE_MASS, scored, result.choice_mass)
    for score in result.scores:
        group.set(metrics.SCORE, {**scored, "metric": score.metric, "filter": score.filter}, score.value)
    info = {
        "run_id": run.run_id, "git_commit": run.git_commit, "task_hash": result.task_hash,
        "engine_version": result.engine_version,
    }  # fmt: skip
    group.set(metrics.RUN_INFO, {**scored, **info}, 1.0)
    if result.leaf_series:
        for leaf in result.leaves:
            group.set(metrics.LEAF_EXACT_MATCH, {**scored, "leaf": leaf}, run.asked_tasks[leaf].score)
    for change in fallen(result)[:SHOWN_LEAVES]:
        group.set(metrics.LEAF_DROP, {**scored, "leaf": change.leaf}, change.baseline_mean - change.score)
    _verdict_series(group, [item.tasks[task] for item in good], scored)


def _speech_series(group: PushGroup, result: TaskResult, labels: dict[str, str]) -> None:
    """Export counts and times of the answers: thoughts, tokens and durations."""
    # A run of an earlier version did not count its answers.
    if result.answers:
        group.set(metrics.RESPONSES, labels, float(result.answers))
    if result.thoughts is not None:
        group.set(metrics.THINKING_RESPONSES, labels, float(result.thoughts.answers))
        group.set(metrics.UNFINISHED_THOUGHTS, labels, float(result.thoughts.unfinished))
    speed = result.speed or Speed()
    group.set(metrics.RESPONSE_TOKENS, labels, speed.tokens)
    for metric, found in (
        (metrics.REQUEST_SECONDS, speed.request),
        (metrics.TIME_TO_FIRST_TOKEN_SECONDS, speed.first_token),
        (metrics.INTER_TOKEN_LATENCY_SECONDS, speed.between_tokens),
    ):
        values = (found.p50, found.p90, found.p99) if found is not None else ()
        for quantile, value in zip(QUANTILES, values, strict=False):
            group.set(metric, {**labels, "quantile": f"{quantile:g}"}, value)


def _verdict_series(group: PushGroup, results: Sequence[TaskResult], labels: dict[str, str]) -> None:
    """Export the last comparison's numbers, and the verdict of the last decisive one against the same baseline."""
    latest = results[-1].comparison
    if latest is None:
        return
    group.set(metrics.BASELINE_EXACT_MATCH, labels, latest.baseline_mean)
    group.set(metrics.REGRESSION_PVALUE, labels, latest.p_value)
    comparisons = (result.comparison for result in reversed(results))
    # A verdict against another baseline ended when this one was accepted.
    holding = next(
        (item for item in comparisons if item and item.decisive and item.baseline_run == latest.baseline_run), latest
    )
    for verdict in metrics.VERDICTS:
        group.set(metrics.VERDICT, {**labels, "verdict": verdict}, float(verdict == holding.verdict))


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
