"""Which runs a score is compared with, and the comparison.

The baseline is pinned: it begins with the run that was accepted, else with the
first run in which the task, as it is now, passed, and takes in the runs of the
same tag that followed until it is complete (see ``compare.py``). It is never
the best run and never the last one.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from urllib.parse import quote

from vllm_eval.compare import BASELINE_RUNS, TaskScore, compare, leaf_tests, pinned_baseline
from vllm_eval.errors import StorageError
from vllm_eval.reasons import OF_THE_DATA, Facts
from vllm_eval.records import DataRecord, ItemValues, LeafChange, RunResult, StoredComparison, TaskResult
from vllm_eval.results import ResultStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BaselineRule:
    """How baselines of one model are chosen and used.

    ``accepted`` is the id of the accepted run, None: the first good one.
    ``series`` is how many comparisons the stack makes at a time.
    """

    accepted: str | None
    series: int

    def choose(self, runs: Sequence[RunResult], result: TaskResult) -> list[RunResult]:
        """Choose the baseline of a task in the form of ``result``, among ended runs ordered by start.

        Without an accepted run, one of another task hash or engine is no
        beginning: there a new baseline begins by itself. Empty when the
        accepted run is not there (a lost claim) or lacks the task: another one
        must not silently take its place. Where the accepted run has other data,
        no run of this data could be accepted before it: a new baseline begins too.
        """
        task = result.task
        good = [run for run in runs if task in run.tasks and run.tasks[task].good]
        accepted = next((run for run in good if run.run_id == self.accepted), None)
        of_old_data = accepted is not None and _other_data(accepted.tasks[task], result)
        named = self.accepted is not None and not of_old_data
        for index, first in enumerate(good):
            if first.run_id == self.accepted if named else _same_task(first.tasks[task], result):
                same_tag = [run for run in good[index:] if run.model["tag"] == first.model["tag"]]
                return same_tag[:BASELINE_RUNS]
        return []


def compare_task(
    store: ResultStore, runs: Sequence[RunResult], run: RunResult, result: TaskResult, rule: BaselineRule
) -> StoredComparison:
    """Compare a good result of ``run`` with its baseline among ``runs``.

    A run is no part of its own baseline, except the accepted one, which is
    compared with itself: accepting it says that it is good.
    """
    chosen = rule.choose(runs, result)
    others = [item for item in chosen if item.run_id != run.run_id and item.started < run.started]
    if chosen and chosen[0].run_id == run.run_id == rule.accepted:
        others = chosen[:1]
    pinned = pinned_baseline(_score(store, item, item.tasks[result.task]) for item in others)
    score = _score(store, run, result)
    outcome = compare(score, pinned, series=rule.series)
    changed = _data_change(runs, run, result) if outcome.verdict == "no_baseline" else None
    if changed is not None:
        # From now on this score itself is the baseline: a comparison with a score of other items would mean nothing.
        return StoredComparison(
            verdict=outcome.verdict,
            decisive=False,
            p_value=None,
            baseline_mean=result.score,
            baseline_run=None,
            reason=changed.sentence(),
            facts=changed,
        )
    return StoredComparison(
        verdict=outcome.verdict,
        decisive=outcome.decisive,
        p_value=outcome.p_value,
        baseline_mean=outcome.baseline_mean,
        baseline_run=others[0].run_id if outcome.baseline_runs else None,
        baseline_runs=outcome.baseline_runs,
        reason=outcome.facts.sentence(),
        facts=outcome.facts,
        leaves=_leaf_changes(run, others, result, score, pinned) if result.leaves and outcome.baseline_runs else (),
    )


def compared_with(runs: Sequence[RunResult], run: RunResult, result: TaskResult) -> list[RunResult]:
    """Return the runs of ``runs`` that the score of a task was compared with, the first of them first."""
    if result.comparison is None or result.comparison.baseline_run is None:
        return []
    chosen = BaselineRule(accepted=result.comparison.baseline_run, series=1).choose(runs, result)
    before = [item for item in chosen if item.started < run.started and item.run_id != run.run_id]
    return before or [item for item in chosen[:1] if item.run_id == run.run_id]


def _leaf_changes(
    run: RunResult, others: Sequence[RunResult], result: TaskResult, score: TaskScore, pinned: Sequence[TaskScore]
) -> tuple[LeafChange, ...]:
    """Compare each leaf of a group; by its scores alone where single items are not right or wrong."""
    same = [each for each in pinned if (each.task_hash, each.engine_version) == (score.task_hash, score.engine_version)]
    if tests := leaf_tests(score, same):
        return tuple(
            LeafChange(leaf=leaf, score=mean, baseline_mean=before, samples=size, p_value=test.worse)
            for leaf, (mean, before, size, test) in tests.items()
        )
    changes = []
    for leaf in result.leaves:
        known = [each.asked_tasks[leaf].score for each in others if leaf in each.asked_tasks]
        before = [value for value in known if value is not None]
        now = run.asked_tasks[leaf]
        if before and now.score is not None:
            changes.append(LeafChange(leaf=leaf, score=now.score, baseline_mean=fmean(before), samples=now.samples))
    return tuple(changes)


def compare_run(store: ResultStore, runs: Sequence[RunResult], run: RunResult, rule: BaselineRule) -> RunResult:
    """Return the run with every good task compared; data that changed is logged."""
    tasks = {
        name: task.model_copy(update={"comparison": compare_task(store, runs, run, task, rule)}) if task.good else task
        for name, task in run.tasks.items()
    }
    for name, task in tasks.items():
        found = task.comparison
        if found is not None and found.facts is not None and found.facts.code in OF_THE_DATA:
            log.warning("%s: %s", name, found.reason)
    return run.model_copy(update={"tasks": tasks})


def _data_change(runs: Sequence[RunResult], run: RunResult, result: TaskResult) -> Facts | None:
    """Say how a task's data differs from that of the good run before; None if it does not."""
    name = result.task
    before = [item for item in runs if item.started < run.started and name in item.tasks and item.tasks[name].good]
    if not before or not _other_data(before[-1].tasks[name], result):
        return None
    # The data of a group is the data of its leaves, which may share a repository.
    was, now = before[-1].asked_tasks, run.asked_tasks
    records = [(was[each].data, now[each].data) for each in result.leaves or (name,) if each in was]
    told = tuple(dict.fromkeys(_told(old, new) for old, new in records if old and new and old.digest != new.digest))
    return Facts(code="data_changed", values={"data": told}) if told else Facts(code="other_leaves")


def _told(old: DataRecord, new: DataRecord) -> str:
    """Name what changed, independent of language: the commits of a hub, else the digests of the items."""
    if (old.repository, old.commit) == (new.repository, new.commit):
        place = f"{new.repository} {new.commit[:12]}: " if new.repository else ""
        return f"{place}{old.digest[:12]} -> {new.digest[:12]}"
    if old.repository == new.repository:
        return f"{new.repository} {old.commit[:12]} -> {new.commit[:12]}"
    return f"{_place(old)} -> {_place(new)}"


def _place(data: DataRecord) -> str:
    return f"{data.repository} {data.commit[:12]}" if data.repository else data.digest[:12]


def _other_data(one: TaskResult, other: TaskResult) -> bool:
    return one.data is not None and other.data is not None and one.data.digest != other.data.digest


def _same_task(one: TaskResult, other: TaskResult) -> bool:
    return (one.task_hash, one.engine_version) == (other.task_hash, other.engine_version)


def _score(store: ResultStore, run: RunResult, result: TaskResult) -> TaskScore:
    return task_score(result, store.item_values(run, result.task) if result.paired else None)


def task_score(result: TaskResult, items: ItemValues | None) -> TaskScore:
    """Build the argument of ``compare``; with items only if each of their answers is either right or wrong."""
    correct = None
    clusters = None
    counts = items.counts() if items is not None else None
    if items is not None and counts is not None and len(items.items) == result.samples:
        correct = dict(zip(items.items, counts, strict=True))
        if items.clusters is not None:
            clusters = dict(zip(items.items, items.clusters, strict=True))
    return TaskScore(
        task_hash=result.task_hash,
        engine_version=result.engine_version,
        correct=correct,
        n=result.samples,
        mean=result.score if result.score is not None else 0.0,
        clusters=clusters,
        samples=items.samples if items is not None and correct is not None else 1,
        by_leaf=result.by_leaf,
    )


def accept(store: ResultStore, run: RunResult) -> None:
    """Make ``run`` the baseline of its model without a stack's settings, on a laptop."""
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
