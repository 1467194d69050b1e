"""The smallest drop that a task can show, computed before its answers are asked for."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Final

from vllm_eval.compare import BASELINE_RUNS
from vllm_eval.metrics import PRACTICAL_DROP
from vllm_eval.stats import significance_level

# The score that drops start from: at this one, sampled answers vary most.
REFERENCE: Final = 0.5
# A drop counts as found if this share of the runs after it is called worse.
POWER: Final = 0.8
# Share of greedy answers that differ in the next run, only because of batching.
FLIPS: Final = 0.02


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much a task asks: ``items``, each ``repeats`` times; ``sampled``: with a temperature."""

    items: int
    repeats: int
    sampled: bool


def least_drop(size: Size, level: float) -> float | None:
    """Return the least relative drop from :data:`REFERENCE` that most runs after it show; None if there is none.

    Every item is taken to be right with the same chance in every run, the
    hardest case (``compare``), or, decoded greedily, to flip. Normal
    approximation; ``make bench-statistics`` prints it beside simulated runs.
    """
    # With no right answer at all: the chance that each item draws its candidate's 0 among the baseline's counts.
    nothing = (1 - REFERENCE) ** size.repeats
    if ((1 + BASELINE_RUNS * nothing) / (1 + BASELINE_RUNS)) ** size.items > level:
        return None
    normal = NormalDist()

    def spread(score: float, runs: float) -> float:
        variance = score * (1 - score) if size.sampled else FLIPS * (1 - FLIPS)
        return sqrt(variance / (size.items * size.repeats) * runs)

    significant = -normal.inv_cdf(level) * spread(REFERENCE, 1 + 1 / BASELINE_RUNS)
    low, high = 0.0, 1.0
    for _ in range(40):
        drop = (low + high) / 2
        after = REFERENCE * (1 - drop)
        reached = max(significant, float(PRACTICAL_DROP) * REFERENCE)
        seen = REFERENCE - after - reached >= normal.inv_cdf(POWER) * spread(after, 1)
        low, high = (low, drop) if seen else (drop, high)
    return high if high < 1 - 1e-6 else None


def describe(size: Size, series: int) -> str:
    """Say what a task of this size can show in a stack that watches ``series`` scores."""
    level = significance_level(series)
    drop = least_drop(size, level)
    asked = f"{size.items} items" + (f" x {size.repeats} samples" if size.repeats > 1 else "")
    at = f"at the level {level:.2g} of {series} series"
    if drop is None:
        return f"WARNING: {asked} could show no drop {at}, not even to 0; take more items, or more samples of each"
    kind = "sampled" if size.sampled else "greedy"
    said = f"{asked}, {kind}: a drop from {REFERENCE} to {REFERENCE * (1 - drop):.2f} ({drop:.0%}) is found {at}"
    return f"WARNING: {said}, and no smaller one" if drop > 0.5 else said
