"""Simulated runs of a task, judged by the real comparison: what the fast tests and the bench share.

Two kinds of noise bound what models do. Greedy decoding: an item is right or
wrong, and each answer turns with a chance of 2 %. Sampled decoding at its
worst: every item has the same chance of being right in every run, so that
nothing is gained by asking the same items.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vllm_eval.compare import BASELINE_RUNS, TaskScore, compare, pinned_baseline
from vllm_eval.metrics import PRACTICAL_DROP
from vllm_eval.stats import significance_level

FLIPS = 0.02
SERIES = 100
DAYS = 365
SCORES = (0.2, 0.5, 0.8, 0.95)
SIZES = (100, 500)
# A look whose sum is not so many standard deviations low cannot be significant
# at the level of 100 series (4.2 normal ones); test_compare_simulation checks it.
SIFT = 3.0

Answers = NDArray[np.bool_]


@dataclass(frozen=True)
class Cell:
    """One combination of score, number of items and noise."""

    score: float
    n: int
    sampled: bool

    def __str__(self) -> str:
        return f"{'sampled' if self.sampled else 'flips'}-{self.n}-{self.score}"

    def runs(self, rng: np.random.Generator, count: int, drop: float = 0.0) -> Answers:
        """``count`` runs, one a row, after a true relative drop of the score."""
        score = self.score * (1 - drop)
        if self.sampled:
            chances = np.full(self.n, score)
        else:
            chances = np.where(np.arange(self.n) < round(score * self.n), 1 - FLIPS, FLIPS)
        return rng.random((count, self.n)) < chances

    def baseline(self, rng: np.random.Generator, runs: int = BASELINE_RUNS) -> tuple[TaskScore, ...]:
        """A pinned baseline of ``runs`` runs less outliers."""
        return pinned_baseline(map(task_score, self.runs(rng, runs)))


CELLS = [Cell(score, n, sampled) for sampled in (False, True) for n in SIZES for score in SCORES]


def task_score(answers: Answers) -> TaskScore:
    """The score of one run."""
    correct = {str(number): bool(answer) for number, answer in enumerate(answers)}
    return TaskScore(
        task_hash="hash", engine_version="lm_eval 0.4.13", n=len(answers), mean=float(answers.mean()), correct=correct
    )


def false_alarms(cell: Cell, rng: np.random.Generator, baseline_runs: int = BASELINE_RUNS) -> int:
    """Count the ``worse`` verdicts of 100 unchanged models in a year of daily runs, the baseline's own included."""
    return sum(_one_series(cell, rng, baseline_runs) for _ in range(SERIES))


def _one_series(cell: Cell, rng: np.random.Generator, baseline_runs: int) -> int:
    runs = cell.runs(rng, DAYS)
    first = [task_score(run) for run in runs[:baseline_runs]]
    pinned = pinned_baseline(first)
    alarms = sum(is_worse(run, pinned) for run in sift(runs[baseline_runs:], pinned))
    for day in range(1, baseline_runs):
        # Members are chosen one after the other, so those of an earlier day are the first of these.
        so_far = tuple(member for member in pinned if any(member is run for run in first[:day]))
        alarms += sum(is_worse(run, so_far) for run in sift(runs[day : day + 1], so_far))
    return alarms


def sift(runs: Answers, pinned: tuple[TaskScore, ...], least: float = SIFT) -> Iterator[Answers]:
    """Pass on the runs that could be ``worse``: dropped far enough, and ``least`` standard deviations low."""
    before = np.sum([list(run.correct.values()) for run in pinned if run.correct], axis=0)
    share = (before + runs) / (len(pinned) + 1)
    deviation = np.sqrt(np.maximum((share * (1 - share)).sum(axis=1), 1e-9))
    right = runs.sum(axis=1)
    kept = 1 - PRACTICAL_DROP
    dropped = kept.denominator * len(pinned) * right < kept.numerator * before.sum()
    yield from runs[dropped & (share.sum(axis=1) - right > least * deviation)]


def is_worse(answers: Answers, pinned: tuple[TaskScore, ...]) -> bool:
    """Whether the real comparison calls it."""
    return compare(task_score(answers), pinned, series=SERIES).verdict == "worse"


def power(
    cell: Cell, rng: np.random.Generator, drop: float, *, baselines: int, runs: int, baseline_runs: int = BASELINE_RUNS
) -> float:
    """Share of runs after a true drop that are called ``worse``."""
    called = 0
    for _ in range(baselines):
        pinned = cell.baseline(rng, baseline_runs)
        called += sum(is_worse(run, pinned) for run in sift(cell.runs(rng, runs, drop), pinned))
    return called / (baselines * runs)


def ten_drops(cell: Cell, rng: np.random.Generator, *, same_tag: bool) -> bool:
    """Whether ten successive drops of 2 % are called by the last.

    ``same_tag``: they begin after the first run and under its tag, so that the
    baseline is still being gathered; else each comes with a tag of its own.
    """
    start = cell.runs(rng, 1 if same_tag else BASELINE_RUNS)
    dropped = [cell.runs(rng, 1, drop=1 - 0.98**step)[0] for step in range(1, 11)]
    gathered = [*start, *dropped[:-1]] if same_tag else [*start]
    return is_worse(dropped[-1], pinned_baseline(map(task_score, gathered[:BASELINE_RUNS])))


def level() -> float:
    """The level of one comparison of 100 series."""
    return significance_level(SERIES)
