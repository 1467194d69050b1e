"""Which run a score is compared with, and the comparison.

The baseline is pinned: the run that was accepted, else the first run in which
the task, as it is now, passed. It is never the best run and never the last one.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from vllm_eval.errors import StorageError
from vllm_eval.results import ResultStore, RunResult, Sample, StoredComparison, TaskResult

try:
    from vllm_eval.compare import TaskScore, compare
except ImportError:
    from types import SimpleNamespace as TaskScore

    def compare(candidate, baseline, *, series):
        return TaskScore(verdict="no_baseline", decisive=False, p_value=None, baseline_mean=None, reason="")


@dataclass(frozen=True)
class BaselineRule:
    """How baselines of one model are chosen and used.

    ``accepted`` is the id of the accepted run, None: the first good one.
    ``series`` is how many comparisons the stack makes at a time.
    """

    accepted: str | None
    series: int

    def choose(self, runs: Sequence[RunResult], task: str, task_hash: str) -> RunResult | None:
        """Choose the baseline of a task among ended runs, ordered by start.

        Returns None when the accepted run is not there (a lost claim) or lacks
        the task: another one must not silently take its place.
        """
        if self.accepted is not None:
            found = next((run for run in runs if run.run_id == self.accepted), None)
            return found if found is not None and task in found.tasks and found.tasks[task].good else None
        for run in runs:
            result = run.tasks.get(task)
            if result is not None and result.good and result.task_hash == task_hash:
                return run
        return None


def compare_task(
    store: ResultStore, runs: Sequence[RunResult], run: RunResult, result: TaskResult, rule: BaselineRule
) -> StoredComparison:
    """Compare a good result of ``run`` with its baseline among ``runs``.

    The first run has none. A run that was itself accepted is its own.
    """
    baseline = rule.choose(runs, result.task, result.task_hash)
    if baseline is not None and baseline.run_id == run.run_id and rule.accepted is None:
        baseline = None
    candidate = task_score(result, store.samples(run, result.task) if result.paired else None)
    pinned = None
    if baseline is not None:
        old = baseline.tasks[result.task]
        pinned = task_score(old, store.samples(baseline, result.task) if old.paired else None)
    outcome = compare(candidate, pinned, series=rule.series)
    return StoredComparison(
        verdict=outcome.verdict,
        decisive=outcome.decisive,
        p_value=outcome.p_value,
        baseline_mean=outcome.baseline_mean,
        baseline_run=baseline.run_id if baseline is not None else None,
        reason=outcome.reason,
    )


def compare_run(store: ResultStore, runs: Sequence[RunResult], run: RunResult, rule: BaselineRule) -> RunResult:
    """Return the run with every good task compared."""
    tasks = {
        name: task.model_copy(update={"comparison": compare_task(store, runs, run, task, rule)}) if task.good else task
        for name, task in run.tasks.items()
    }
    return run.model_copy(update={"tasks": tasks})


def task_score(result: TaskResult, samples: Sequence[Sample] | None) -> TaskScore:
    """Build what ``compare`` takes; items only if each of them is right or wrong and nothing between."""
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


def accept(store: ResultStore, run: RunResult) -> None:
    """Make ``run`` the baseline of its model where no stack's settings say so: on a laptop."""
    content = json.dumps({"run": run.run_id}).encode() + b"\n"
    store.storage.write(_accepted_path(run.stack, run.model["name"]), content)


def accepted_run(store: ResultStore, stack: str, model: str) -> str | None:
    """Return what :func:`accept` wrote, None if nothing.

    Raises
    ------
    StorageError
        The file is damaged; to ignore it would compare with another baseline.
    """
    content = store.storage.read(_accepted_path(stack, model))
    if content is None:
        return None
    try:
        return str(json.loads(content)["run"])
    except (ValueError, KeyError, TypeError):
        raise StorageError(f"{_accepted_path(stack, model)} is damaged; accept the baseline again") from None


def _accepted_path(stack: str, model: str) -> str:
    return f"accepted/{quote(stack, safe='')}/{quote(model, safe='')}.json"
