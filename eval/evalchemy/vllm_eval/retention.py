"""Old runs, answers and lists are removed, never what a published value rests on."""

import logging
import time
from collections.abc import Sequence

from vllm_eval.answers import drop_stale
from vllm_eval.baseline import BaselineRule
from vllm_eval.errors import StorageError
from vllm_eval.publish import ended_runs
from vllm_eval.records import RunResult
from vllm_eval.results import ResultStore
from vllm_eval.settings import RunSettings

log = logging.getLogger(__name__)


def apply_retention(store: ResultStore, run: RunResult, rule: BaselineRule, settings: RunSettings) -> None:
    """Delete runs of this model beyond the count and the age that the settings keep, and stale answers.

    What cannot be deleted is logged; it is no reason to fail a run.
    """
    try:
        runs = store.runs(run.stack, run.model["name"])
        needed = needed_runs(ended_runs(runs), run, rule)
        oldest = time.time() - settings.keep_days * 86400
        surplus = {item.run_id for item in runs[: max(len(runs) - settings.keep_runs, 0)]}
        for item in runs:
            if item.run_id not in needed and (item.run_id in surplus or item.started < oldest):
                store.delete(item)
        drop_stale(store.storage, max_age=settings.answer_max_age)
    except StorageError as error:
        log.warning("old runs could not be removed: %s", error)


def needed_runs(runs: Sequence[RunResult], run: RunResult, rule: BaselineRule) -> set[str]:
    """Return the ids of the ended runs that the model's group is computed from."""
    needed = {run.run_id, *([rule.accepted] if rule.accepted is not None else [])}
    complete = [item for item in runs if item.complete]
    rated = [item for item in runs if item.requests_per_second is not None]
    needed |= {items[-1].run_id for items in (complete, rated) if items}
    for name, task in run.tasks.items():
        good = [item for item in runs if name in item.tasks and item.tasks[name].good]
        baseline = rule.choose(runs, good[-1].tasks[name] if good else task)
        decisive = [item.run_id for item in good if (comparison := item.tasks[name].comparison) and comparison.decisive]
        needed |= {item.run_id for item in [*good[-1:], *baseline]} | set(decisive[-1:])
    return needed
