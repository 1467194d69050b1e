"""Old runs are removed, never one that a published value rests on."""

import time
from collections.abc import Sequence

from vllm_eval.baseline import baseline_run
from vllm_eval.errors import StorageError
from vllm_eval.models import Model
from vllm_eval.publish import ended_runs
from vllm_eval.results import ResultStore, RunResult
from vllm_eval.settings import RunSettings


def apply_retention(store: ResultStore, run: RunResult, model: Model, settings: RunSettings) -> list[StorageError]:
    """Delete runs of this model beyond the count and the age that the settings keep.

    Kept besides: the run itself, each task's last good result, its baseline,
    the last decisive comparison against it, and the last complete run.

    Returns
    -------
    list
        What could not be deleted; it is no reason to fail a run.
    """
    runs = store.runs(run.stack, run.model["name"])
    needed = needed_runs(ended_runs(runs), run, model)
    oldest = time.time() - settings.keep_days * 86400
    surplus = runs[: max(len(runs) - settings.keep_runs, 0)]
    failures = []
    for item in runs:
        if item.run_id in needed or not (item in surplus or item.started < oldest):
            continue
        try:
            store.delete(item)
        except StorageError as error:
            failures.append(error)
    return failures


def needed_runs(runs: Sequence[RunResult], run: RunResult, model: Model) -> set[str]:
    """Return the ids of the ended runs that the model's group is computed from."""
    needed = {run.run_id}
    complete = [item for item in runs if item.complete]
    rated = [item for item in runs if item.requests_per_second is not None]
    needed |= {items[-1].run_id for items in (complete, rated) if items}
    if model.baseline is not None:
        needed.add(model.baseline.run)
    for name, task in run.tasks.items():
        good = [item for item in runs if name in item.tasks and item.tasks[name].good]
        baseline = baseline_run(runs, model, name, good[-1].tasks[name].task_hash if good else task.task_hash)
        if good:
            needed.add(good[-1].run_id)
        if baseline is not None:
            needed.add(baseline.run_id)
        decisive = [item.run_id for item in good if (comparison := item.tasks[name].comparison) and comparison.decisive]
        needed |= set(decisive[-1:])
    return needed
