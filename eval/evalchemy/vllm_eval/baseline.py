"""Which run a score is compared with, and the comparison.

The baseline is pinned: the run that the model's settings accept, else the
first run in which the task, as it is now, passed. It is never the best run and
never the last one.
"""

from collections.abc import Sequence

from vllm_eval.models import Model
from vllm_eval.results import ResultStore, RunResult, Sample, StoredComparison, TaskResult


def baseline_run(runs: Sequence[RunResult], model: Model, task: str, task_hash: str) -> RunResult | None:
    """Choose the baseline among ended runs, by start.

    Returns None when the accepted run is not in the store (a lost claim), or
    lacks the task: another one must not silently take its place.
    """
    if model.baseline is not None:
        accepted = next((run for run in runs if run.run_id == model.baseline.run), None)
        return accepted if accepted is not None and task in accepted.tasks and accepted.tasks[task].good else None
    for run in runs:
        result = run.tasks.get(task)
        if result is not None and result.good and result.task_hash == task_hash:
            return run
    return None


def compare_with_baseline(
    store: ResultStore,
    runs: Sequence[RunResult],
    model: Model,
    run_id: str,
    result: TaskResult,
    samples: Sequence[Sample] | None,
    *,
    series: int,
) -> StoredComparison:
    """Compare a good result with its baseline; ``series`` is how many such comparisons the stack makes."""
    try:
        from vllm_eval.compare import compare
    except ImportError:
        return StoredComparison(
            verdict="no_baseline", decisive=False, p_value=None, baseline_mean=None, baseline_run=None, reason=""
        )
    baseline = baseline_run([run for run in runs if run.run_id != run_id], model, result.task, result.task_hash)
    pinned = None
    if baseline is not None:
        old = baseline.tasks[result.task]
        pinned = task_score(old, store.samples(baseline, result.task) if old.paired else None)
    outcome = compare(task_score(result, samples), pinned, series=series)
    return StoredComparison(
        verdict=outcome.verdict,
        decisive=outcome.decisive,
        p_value=outcome.p_value,
        baseline_mean=outcome.baseline_mean,
        baseline_run=baseline.run_id if baseline is not None else None,
        reason=outcome.reason,
    )


def task_score(result: TaskResult, samples: Sequence[Sample] | None) -> "TaskScore":
    """Build what ``compare`` takes; items only if each of them is right or wrong and nothing between."""
    from vllm_eval.compare import TaskScore

    correct = None
    clusters = None
    if samples is not None and all(sample.value in {0.0, 1.0} for sample in samples):
        correct = {sample.item: sample.value == 1.0 for sample in samples}
        if samples and all(sample.cluster is not None for sample in samples):
            clusters = {sample.item: str(sample.cluster) for sample in samples}
    return TaskScore(
        task_hash=result.task_hash,
        engine_version=result.engine_version,
        correct=correct,
        n=result.samples,
        mean=result.score if result.score is not None else 0.0,
        clusters=clusters,
    )
