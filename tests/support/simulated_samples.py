"""Simulated runs that ask each item several times, judged with the item's count as the unit, and answer by answer.

Two kinds of noise. *independent*: each answer is drawn anew from the item's own
chance. *shared*: that chance itself moves from run to run (another batching,
another build), so that the answers of a run to one item fail together; a fifth
of the answers' variance is of that kind.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vllm_eval.compare import BASELINE_RUNS
from vllm_eval.metrics import PRACTICAL_DROP
from vllm_eval.stats import exchange

# Beta(a, b) of a chance p has the variance p (1 - p) / (a + b + 1).
_MOVES = 4.0
# So many standard deviations below, a look is significant at any level used here; and one above the other cannot be.
_SURE, _NEVER = 6.5, 1.8

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Asked:
    """``items`` of chances between 0 and 1, each asked ``samples`` times."""

    items: int
    samples: int
    shared: bool

    def answers(self, rng: np.random.Generator, drop: float = 0.0) -> NDArray[np.bool_]:
        """Baseline runs and one more, which is lower by ``drop``: an array of runs, items and samples."""
        chances = np.tile(rng.beta(1, 1, self.items), (BASELINE_RUNS + 1, 1))
        if self.shared:
            chances = rng.beta(np.maximum(chances * _MOVES, 1e-9), np.maximum((1 - chances) * _MOVES, 1e-9))
        chances[-1] *= 1 - drop
        return rng.random((*chances.shape, self.samples)) < chances[:, :, None]


def is_low(runs: Counts, level: float) -> bool:
    """Whether the last of the runs (runs by units) is significantly lower than the others, by the real test."""
    units = runs.T
    deviation = np.sqrt(max(float(units.var(axis=1).sum()), 1e-12))
    distance = float((units.mean(axis=1) - runs[-1]).sum()) / deviation
    if not _NEVER <= distance <= _SURE:
        return bool(distance > _SURE)
    counts = [[int(count) for count in run] for run in runs]
    return exchange(counts[-1], counts[:-1]).worse <= level


def false_alarms(asked: Asked, rng: np.random.Generator, times: int, level: float) -> tuple[float, float]:
    """Share of unchanged runs that are called low: by the items' counts, and answer by answer."""
    by_item = by_answer = 0
    for _ in range(times):
        answers = asked.answers(rng)
        by_item += is_low(answers.sum(axis=2), level)
        by_answer += is_low(answers.reshape(len(answers), -1).astype(np.int64), level)
    return by_item / times, by_answer / times


def power(asked: Asked, rng: np.random.Generator, times: int, level: float, drop: float) -> float:
    """Share of runs after a true relative drop that are called worse."""
    called = 0
    for _ in range(times):
        counts = asked.answers(rng, drop).sum(axis=2)
        low = counts[-1].sum() < (1 - float(PRACTICAL_DROP)) * counts[:-1].sum(axis=1).mean()
        called += bool(low) and is_low(counts, level)
    return called / times
