"""The tasks of a group that cause its drop."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vllm_eval.compare import DOUBT_LEVEL
from vllm_eval.errors import some
from vllm_eval.records import LeafChange, RunResult, TaskResult

# Alerts and tables name no more of a group's tasks.
SHOWN_LEAVES: Final = 5


@dataclass(frozen=True)
class LeafRow:
    """One task of a group in a table: its result (None: not there) and its change (None: nothing to compare with)."""

    name: str
    result: TaskResult | None
    change: LeafChange | None

    @property
    def moved(self) -> float | None:
        """Score minus the baseline's."""
        return self.change.score - self.change.baseline_mean if self.change else None


def leaf_rows(run: RunResult, result: TaskResult) -> Sequence[LeafRow]:
    """Return a group's tasks: those without a score first, then those that lost most; empty for a task."""
    known = run.asked_tasks
    changes = {change.leaf: change for change in (result.comparison.leaves if result.comparison else ())}
    rows = [LeafRow(name, known.get(name), changes.get(name)) for name in result.leaves]
    return sorted(rows, key=lambda row: (row.result is not None and row.result.good, row.moved or 0.0))


def fallen(result: TaskResult) -> list[LeafChange]:
    """Return the leaves that a group's drop comes from, those that cost it most first.

    Empty unless the group itself is worse, or below its baseline by more than
    chance (:data:`~vllm_eval.compare.DOUBT_LEVEL`): of 57 leaves that did not
    change, three look as if they had fallen. Leaves that are below by more
    than chance alone come before those that may just be unlucky.
    """
    found = result.comparison
    if found is None or (found.verdict != "worse" and (found.p_value is None or found.p_value > DOUBT_LEVEL)):
        return []
    lower = [change for change in found.leaves if change.score < change.baseline_mean]
    sure = [change for change in lower if change.p_value is not None and change.p_value <= DOUBT_LEVEL]
    return sorted(sure or lower, key=lambda change: _cost(change, result), reverse=True)


def _cost(change: LeafChange, result: TaskResult) -> float:
    return (change.baseline_mean - change.score) * (1 if result.by_leaf else change.samples)


def named(result: TaskResult) -> str:
    """Name the leaves that fell, with both scores; empty where none did."""
    told = [f"{each.leaf} {each.baseline_mean:.3f} → {each.score:.3f}" for each in fallen(result)]
    return some(told, SHOWN_LEAVES)
