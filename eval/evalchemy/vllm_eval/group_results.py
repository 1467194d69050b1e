"""Combines the results of a group's leaves into the result of the group."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from math import fsum, sqrt
from typing import Any

from vllm_eval.catalog import DEFAULT_METRIC
from vllm_eval.errors import gathered
from vllm_eval.groups import TaskGroup
from vllm_eval.judge import CAUSES
from vllm_eval.records import DataRecord, ItemValues, Score, TaskResult, leaf_item
from vllm_eval.speech import Thoughts
from vllm_eval.stats import standard_error


def group_result(
    group: TaskGroup, hashes: Mapping[str, str], leaves: Mapping[str, TaskResult], values: ItemValues | None
) -> TaskResult:
    """Build a group's result.

    Parameters
    ----------
    hashes
        Task hash of each leaf; one that could not be read has none.
    leaves
        Results of the leaves, by name. One that is missing or failed leaves the group without a score.
    values
        The items of all leaves, see :func:`pool`; None where a leaf has none.
    """
    results = [leaves[name] for name in group.leaves if name in leaves]
    problems, cause = _failures(group, leaves)
    good = not problems
    expected = [result.expected for result in results]
    common = _common(results)
    primary = _primary(results)
    return TaskResult(
        task=group.name,
        task_hash=group.hash(hashes) if all(hashes.get(name) for name in group.leaves) else "",
        engine=group.settings.engine,
        # The leaves may be asked in different ways, so all of them are recorded.
        engine_version="; ".join(sorted({result.engine_version for result in results})),
        good=good,
        cause=cause,
        problems=tuple(problems),
        metric=primary[0] if primary else group.settings.metric or DEFAULT_METRIC,
        filter=primary[1] if primary else group.settings.filter,
        score=_mean([result.score or 0.0 for result in results], results, by_size=group.by_size) if good else None,
        stderr=_stderr(group, results, values) if good else None,
        samples=sum(result.samples for result in results),
        expected=None if None in expected or len(results) < len(group.leaves) else sum(filter(None, expected)),
        empty=sum(result.empty for result in results),
        truncated=sum(result.truncated for result in results),
        scores=_scores(group, results, common - {primary}) if good else (),
        paired=good and values is not None,
        ended=max((result.ended for result in results), default=time.time()),
        choice_mass=_choice_mass(results) if good else None,
        repeats=max((result.repeats for result in results), default=1),
        thoughts=_thoughts(results),
        answers=sum(result.answers for result in results),
        generation=_common_generation(results),
        leaves=group.leaves,
        by_leaf=not group.by_size,
        leaf_series=group.settings.leaves,
        data=_data(results),
    )


def pool(parts: Mapping[str, ItemValues | None]) -> ItemValues | None:
    """Put the items of all leaves together, named LEAF/ITEM; None where a leaf has none.

    Clusters stay within their leaf.
    """
    known = {leaf: values for leaf, values in parts.items() if values is not None}
    repeats = {values.samples for values in known.values()}
    if len(known) < len(parts) or len(repeats) > 1:
        return None
    named = [(leaf, values, index) for leaf, values in known.items() for index in range(len(values.items))]
    clustered = any(values.clusters is not None for values in known.values())
    return ItemValues(
        items=tuple(leaf_item(leaf, values.items[index]) for leaf, values, index in named),
        values=tuple(values.values[index] for _, values, index in named),
        clusters=tuple(
            leaf_item(leaf, values.clusters[index] if values.clusters else f"|{values.items[index]}")
            for leaf, values, index in named
        )
        if clustered
        else None,
        samples=repeats.pop(),
    )


def _failures(group: TaskGroup, leaves: Mapping[str, TaskResult]) -> tuple[list[str], str | None]:
    """Say which leaves have no score, and the cause: one that a retry may cure comes first."""
    failed = {name: leaves.get(name) for name in group.leaves if name not in leaves or not leaves[name].good}
    if not failed:
        return [], None
    told = [
        f"{name}: {problem}"
        for name, result in failed.items()
        for problem in (result.problems if result else ("it was not evaluated",))
    ]
    causes = {result.cause if result else "endpoint" for result in failed.values()}
    head = f"{len(failed)} of {len(group.leaves)} tasks have no score, so that the group has none"
    return [head, *gathered(told)], next(cause for cause in CAUSES if cause in causes)


def _primary(results: Sequence[TaskResult]) -> tuple[str, str | None] | None:
    """Return the metric and filter of the score, where the leaves have the same."""
    found = Counter((result.metric, result.filter) for result in results)
    metrics = {metric for metric, _ in found}
    if len(metrics) != 1:
        return None
    return next(iter(found)) if len(found) == 1 else (metrics.pop(), None)


def _mean(values: Sequence[float], results: Sequence[TaskResult], *, by_size: bool) -> float:
    sizes = [result.samples if by_size else 1 for result in results]
    mean = fsum(value * size for value, size in zip(values, sizes, strict=True)) / sum(sizes)
    return min(1.0, max(0.0, mean)) if all(0 <= value <= 1 for value in values) else mean


def _stderr(group: TaskGroup, results: Sequence[TaskResult], values: ItemValues | None) -> float | None:
    """Return the stratified standard error, each leaf's own (by clusters where it has any).

    Where a leaf has none (a single item), pooled items have the plain one, which is larger.
    """
    sizes = [result.samples if group.by_size else 1 for result in results]
    errors = [result.stderr for result in results]
    known = [error for error in errors if error is not None]
    if len(known) == len(errors):
        return sqrt(fsum((size * error) ** 2 for size, error in zip(sizes, known, strict=True))) / sum(sizes)
    return standard_error(values.values, values.clusters) if group.by_size and values is not None else None


def _common_generation(results: Sequence[TaskResult]) -> dict[str, Any]:
    """Return the settings that all leaves are asked with alike."""
    first = results[0].generation if results else {}
    return {
        key: value for key, value in first.items() if all(result.generation.get(key) == value for result in results)
    }


def _choice_mass(results: Sequence[TaskResult]) -> float | None:
    masses = [result.choice_mass for result in results]
    known = [mass for mass in masses if mass is not None]
    return _mean(known, results, by_size=True) if len(known) == len(masses) else None


def _data(results: Sequence[TaskResult]) -> DataRecord | None:
    """Return one digest of all leaves' items, and where they are from if that is one commit; None if none is known."""
    known = [(result.task, result.data) for result in results if result.data is not None]
    if not known:
        return None
    places = {(data.repository, data.commit) for _, data in known}
    repository, commit = places.pop() if len(places) == 1 else ("", "")
    digest = sha256("".join(f"{task} {data.digest}\n" for task, data in known).encode()).hexdigest()
    return DataRecord(repository=repository, commit=commit, digest=digest)


def _thoughts(results: Sequence[TaskResult]) -> Thoughts | None:
    """Return the leaves' counts of thoughts together; None where a leaf has none."""
    found = [result.thoughts for result in results if result.thoughts is not None]
    if not found or len(found) < len(results):
        return None
    tokens = [thoughts.tokens for thoughts in found if thoughts.tokens is not None]
    return Thoughts(
        answers=sum(thoughts.answers for thoughts in found),
        unfinished=sum(thoughts.unfinished for thoughts in found),
        in_text=sum(thoughts.in_text for thoughts in found),
        characters=sum(thoughts.characters for thoughts in found),
        tokens=sum(tokens) if len(tokens) == len(found) else None,
    )


def _common(results: Sequence[TaskResult]) -> set[tuple[str, str | None]]:
    found: list[set[tuple[str, str | None]]] = [
        {(score.metric, score.filter) for score in result.scores} for result in results
    ]
    return set.intersection(*found) if found else set()


def _scores(
    group: TaskGroup, results: Sequence[TaskResult], wanted: Iterable[tuple[str, str | None]]
) -> tuple[Score, ...]:
    """Return the further metrics that all leaves have, each weighed as the group's YAML says."""
    scores = []
    for metric, name in sorted(wanted, key=str):
        values = [
            score.value
            for result in results
            for score in result.scores
            if (score.metric, score.filter) == (metric, name)
        ]
        listed = next((each for each in group.aggregates if each.covers(metric, name)), None)
        by_size = listed.by_size if listed is not None else group.by_size
        scores.append(Score(metric=metric, filter=str(name), value=_mean(values, results, by_size=by_size)))
    return tuple(scores)
