"""A score that is the mean of its leaves' means: how its exchange test is done.

The sum of draws of each leaf has an exact distribution (``stats.exchange_draws``).
The score adds these sums, each divided by its leaf's number of items, which have
no common unit where the sizes differ. They are laid on a lattice: where the
least common multiple of the sizes is small, its step is exact; else every value
is rounded against the finding, so that a p-value is an upper bound, by less than
a fiftieth of the score's own noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, lcm, sqrt
from typing import TYPE_CHECKING, Final

from vllm_eval.stats import NEGLIGIBLE, Distribution, Exact, exact, exchange_draws

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Roundings of all leaves together are below this share of the score's standard deviation.
_FINENESS: Final = 50
# The most points of a lattice that is exact; more are rounded.
_MOST_POINTS: Final = 100_000


@dataclass(frozen=True)
class Stratum:
    """One leaf: right answers of its units in the candidate and in each baseline run, and its number of items."""

    candidate: Sequence[int]
    baseline: Sequence[Sequence[int]]
    size: int


def exchange_means(strata: Sequence[Stratum]) -> Exact:
    """Exact test of the mean of the leaves' means, by exchanging runs within every unit of every leaf.

    Parameters
    ----------
    strata
        At least one; all with as many baseline runs.
    """
    draws = [exchange_draws(each.candidate, each.baseline) for each in strata]
    sizes = [each.size for each in strata]
    observed = sum((Fraction(sum(each.candidate), each.size) for each in strata), Fraction(0))
    step, rounded = _step(draws, sizes)
    low, pmf = _sum(draws, sizes, step, up=False)
    worse = float(pmf[: max(floor(observed * step) - low + 1, 0)].sum())
    if rounded:
        low, pmf = _sum(draws, sizes, step, up=True)
    better = float(pmf[max(ceil(observed * step) - low, 0) :].sum())
    return exact(worse=worse, better=better)


def _step(draws: Sequence[Distribution], sizes: Sequence[int]) -> tuple[int, bool]:
    """Return how many points of the lattice lie in 1, and whether values must be rounded to it."""
    whole = lcm(*sizes)
    width = sum(len(each.pmf) / size for each, size in zip(draws, sizes, strict=True))
    if whole * width <= _MOST_POINTS:
        return whole, False
    deviation = sqrt(sum(_variance(each) / size**2 for each, size in zip(draws, sizes, strict=True)))
    return max(1, ceil(_FINENESS * len(sizes) / deviation)), True


def _variance(draws: Distribution) -> float:
    mean = sum(at * share for at, share in enumerate(draws.pmf))
    return sum((at - mean) ** 2 * share for at, share in enumerate(draws.pmf))


def _sum(
    draws: Sequence[Distribution], sizes: Sequence[int], step: int, *, up: bool
) -> tuple[int, "NDArray[np.float64]"]:
    """Return the first point and the probabilities of the sum of the leaves' means, on the lattice."""
    import numpy as np

    low, pmf = 0, np.ones(1)
    for each, size in zip(draws, sizes, strict=True):
        counts = range(each.offset, each.offset + len(each.pmf))
        points = [-(-count * step // size) if up else count * step // size for count in counts]
        total = np.zeros(len(pmf) + points[-1] - points[0])
        for point, share in zip(points, each.pmf, strict=True):
            at = point - points[0]
            total[at : at + len(pmf)] += share * pmf
        kept = np.flatnonzero(total > NEGLIGIBLE)
        low += points[0] + int(kept[0])
        pmf = total[kept[0] : kept[-1] + 1]
    return low, pmf
