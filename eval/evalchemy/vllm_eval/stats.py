"""Tests and error bars for scores that are shares of right answers. Standard library only.

Counts are integers, shares lie in 0..1, p-values in 0..1. The tests are exact:
they rest on exchanging runs, not on a normal approximation, whose tails are
wrong just where the levels of :func:`significance_level` lie. All are safe for
20,000 items and more; what a p-value lacks of its true value is below 1e-30.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from math import fsum, sqrt
from operator import mul
from statistics import NormalDist
from typing import NamedTuple

# A probability so small that leaving it out cannot change a verdict.
NEGLIGIBLE = 1e-40
# Sums of left-out probabilities stay below this, and no p-value is said to be smaller.
_SMALLEST_P = 1e-30

Unit = tuple[int, ...]


class Interval(NamedTuple):
    """A confidence interval, ends included."""

    low: float
    high: float


class Exact(NamedTuple):
    """P-values of "no change" against three alternatives.

    ``worse`` and ``better`` are one-sided; ``different`` is two-sided, twice
    the smaller of them.
    """

    worse: float
    better: float
    different: float


def mcnemar(losses: int, gains: int) -> Exact:
    """Exact McNemar test of one run against one other, on the same items.

    Parameters
    ----------
    losses
        Items that only the baseline answered right.
    gains
        Items that only the candidate answered right.

    Notes
    -----
    If nothing changed, each of these items is as likely a loss as a gain:
    McNemar, Psychometrika 12 (1947), with the binomial instead of chi-squared.
    """
    _check_counts(losses=losses, gains=gains)
    total = losses + gains
    return exact(worse=_half_binomial(gains, total), better=_half_binomial(losses, total))


def exchange(candidate: Sequence[int], baseline: Sequence[Sequence[int]]) -> Exact:
    """Exact test of one run against the k runs of a baseline, on the same units.

    If nothing changed, the k + 1 runs of a unit could be exchanged: the
    candidate's count is any of the unit's k + 1 counts with equal chance,
    independently of other units. The p-value is the probability that the sum
    of such draws is as low (high) as the candidate's sum. With k = 1 and units
    of one item this is :func:`mcnemar`. A unit that is a whole cluster of items
    is exchanged as one, so that the items of a cluster may depend on each other.

    Parameters
    ----------
    candidate
        Right answers of each unit; 0 or 1 where a unit is one item.
    baseline
        The same of each baseline run; each run as long as ``candidate``.
    """
    if len(baseline) == 1 and all(not run or (min(run) >= 0 and max(run) <= 1) for run in (candidate, *baseline)):
        units = list(zip(candidate, baseline[0], strict=True))
        return mcnemar(losses=units.count((0, 1)), gains=units.count((1, 0)))
    draws = exchange_draws(candidate, baseline)
    observed = sum(candidate) - draws.offset
    return exact(worse=fsum(draws.pmf[: max(observed + 1, 0)]), better=fsum(draws.pmf[max(observed, 0) :]))


def exchange_draws(candidate: Sequence[int], baseline: Sequence[Sequence[int]]) -> "Distribution":
    """Return how the candidate's sum is distributed if nothing changed; arguments as of :func:`exchange`."""
    if not baseline:
        raise ValueError("exchange_draws() needs at least one baseline run")
    runs = len(baseline) + 1
    units = list(zip(candidate, *baseline, strict=True))
    if all(not run or (min(run) >= 0 and max(run) <= 1) for run in (candidate, *baseline)):
        rights = Counter(map(sum, units))
        shapes = Counter({(0,) * (runs - right) + (1,) * right: count for right, count in rights.items()})
    else:
        shapes = Counter(tuple(sorted(unit)) for unit in units)
    return _sum_of_draws(shapes)


def two_proportions(successes: int, n: int, baseline_successes: int, baseline_n: int) -> Exact:
    """Compare two independent shares: Fisher's exact test, conditional on all right answers.

    It is conservative, and more so on the same items, since it takes the
    variation between items for noise.
    """
    _check_counts(successes=successes, n=n, baseline_successes=baseline_successes, baseline_n=baseline_n)
    if successes > n or baseline_successes > baseline_n:
        raise ValueError(f"more successes than trials: {successes}/{n}, {baseline_successes}/{baseline_n}")
    right, total = successes + baseline_successes, n + baseline_n
    low, high = max(0, right - baseline_n), min(n, right)

    def ratio(count: int) -> float:
        return (n - count) * (right - count) / ((count + 1) * (total - n - right + count + 1))

    mode = (n + 1) * (right + 1) // (total + 2)
    offset, pmf = _from_mode(min(max(mode, low), high), low, high, ratio)
    observed = successes - offset
    return exact(worse=fsum(pmf[: max(observed + 1, 0)]), better=fsum(pmf[max(observed, 0) :]))


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Two-sided interval of a share; sensible at 0, at n and for small n.

    Source: Wilson, JASA 22 (1927).
    """
    _check_counts(successes=successes, n=n)
    if not 0 < n >= successes:
        raise ValueError(f"a share needs 0 <= successes <= n and n > 0; got {successes} of {n}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1; got {confidence}")
    return share_interval(successes / n, n, confidence)


def share_interval(share: float, n: float, confidence: float = 0.95) -> Interval:
    """Wilson's interval of a share that is as certain as one of ``n`` independent items.

    ``n`` need not be whole: of a stratified or clustered score with standard
    error s it is the effective number, ``share * (1 - share) / s**2``.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    spread = z * z / n
    center = (share + spread / 2) / (1 + spread)
    half = z * sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    # At the ends the bound is 0 or 1 exactly; rounding would miss it by an epsilon.
    return Interval(
        low=0.0 if share <= 0 else max(0.0, center - half), high=1.0 if share >= 1 else min(1.0, center + half)
    )


def standard_error(values: Sequence[float], clusters: Sequence[Hashable] | None = None) -> float | None:
    """Standard error of the mean of ``values``; None where one cannot be had (fewer than two units).

    Parameters
    ----------
    values
        One score an item.
    clusters
        What items share (a passage), one entry an item; None: all items are
        independent, and the result is the one that lm_eval reports.

    Notes
    -----
    Clustered: Miller, "Adding Error Bars to Evals" (arXiv:2411.00640), with
    the factor G / (G - 1) for G clusters, so that clusters of one item give
    the plain formula.
    """
    n = len(values)
    if clusters is not None and len(clusters) != n:
        raise ValueError(f"{len(clusters)} clusters for {n} values; each item needs one")
    keys: Sequence[Hashable] = range(n) if clusters is None else clusters
    mean = fsum(values) / n if n else 0.0
    residuals: dict[Hashable, list[float]] = {}
    for key, value in zip(keys, values, strict=True):
        residuals.setdefault(key, []).append(value - mean)
    units = len(residuals)
    if units < 2:
        return None
    return sqrt(fsum(fsum(group) ** 2 for group in residuals.values()) * units / (units - 1)) / n


def significance_level(series: int, *, looks_per_year: float = 365.0, false_alarms_per_year: float = 0.5) -> float:
    """Level of one comparison such that a stack has few false alarms a year.

    Parameters
    ----------
    series
        Pairs of model and task that the stack compares.
    looks_per_year
        Comparisons of each of them a year.
    false_alarms_per_year
        The expected number of false alarms of the whole stack.

    Notes
    -----
    This is Bonferroni's level for the *expected number* of false alarms. An
    expectation is a sum, whatever the looks have to do with each other, and
    these have much: all looks of a series share one baseline. Sharper methods
    (Holm, false discovery rate) limit something else, the share of wrong ones
    among the alarms, and need all p-values of the year at once.
    """
    if series < 1 or looks_per_year <= 0 or false_alarms_per_year <= 0:
        raise ValueError("series, looks_per_year and false_alarms_per_year must be above 0")
    return min(0.05, false_alarms_per_year / (looks_per_year * series))


class Distribution(NamedTuple):
    """Probabilities of ``offset``, ``offset + 1``, …; what is left out is negligible."""

    offset: int
    pmf: list[float]


def _sum_of_draws(shapes: Counter[Unit]) -> Distribution:
    """Distribution of the sum of one uniform draw from each unit; ``shapes`` counts equal units."""
    total = Distribution(0, [1.0])
    for shape, count in sorted(shapes.items()):
        low, high = shape[0], shape[-1]
        if low == high:
            total = Distribution(total.offset + low * count, total.pmf)
            continue
        if shape[-shape.count(high) - 1] == low:
            draws = _binomial(count, shape.count(high) / len(shape), step=high - low)
        else:
            single = [shape.count(value) / len(shape) for value in range(low, high + 1)]
            draws = _power(Distribution(0, single), count)
        total = _convolve(total, Distribution(draws.offset + low * count, draws.pmf))
    return total


def _binomial(n: int, share: float, step: int) -> Distribution:
    """Distribution of ``step`` times a binomial count; ``share`` is neither 0 nor 1."""
    odds = share / (1 - share)
    low, pmf = _from_mode(min(int((n + 1) * share), n), 0, n, lambda count: odds * (n - count) / (count + 1))
    if step == 1:
        return Distribution(low, pmf)
    spread = [0.0] * ((len(pmf) - 1) * step + 1)
    spread[::step] = pmf
    return Distribution(low * step, spread)


def _from_mode(mode: int, low: int, high: int, ratio: Callable[[int], float]) -> Distribution:
    """Build a distribution with one peak from ``ratio(i) = P(i + 1) / P(i)``.

    Beginning at the peak, nothing underflows and errors do not add up.
    """
    up, down = [1.0], []
    for count in range(mode, high):
        up.append(up[-1] * ratio(count))
        if up[-1] < NEGLIGIBLE:
            break
    value = 1.0
    for count in range(mode - 1, low - 1, -1):
        value /= ratio(count)
        down.append(value)
        if value < NEGLIGIBLE:
            break
    weights = [*reversed(down), *up]
    whole = fsum(weights)
    return Distribution(mode - len(down), [weight / whole for weight in weights])


def _convolve(one: Distribution, other: Distribution) -> Distribution:
    """Distribution of the sum of two independent counts."""
    long, short = (one.pmf, other.pmf) if len(one.pmf) >= len(other.pmf) else (other.pmf, one.pmf)
    width, reverse = len(short), short[::-1]
    padded = [0.0] * (width - 1) + long + [0.0] * (width - 1)
    pmf = [sum(map(mul, padded[at : at + width], reverse)) for at in range(len(long) + width - 1)]
    first = next(at for at, value in enumerate(pmf) if value >= NEGLIGIBLE)
    last = next(at for at in range(len(pmf) - 1, -1, -1) if pmf[at] >= NEGLIGIBLE)
    return Distribution(one.offset + other.offset + first, pmf[first : last + 1])


def _power(single: Distribution, count: int) -> Distribution:
    """Distribution of the sum of ``count`` independent draws, by squaring."""
    total = Distribution(0, [1.0])
    while count:
        if count & 1:
            total = _convolve(total, single)
        count >>= 1
        if count:
            single = _convolve(single, single)
    return total


def _half_binomial(at_most: int, n: int) -> float:
    """P(X <= at_most) of n fair coins, in integers and so right to the last bit."""
    if at_most >= n:
        return 1.0
    # The smaller tail is the shorter sum.
    if 2 * at_most >= n:
        return 1.0 - _half_binomial(n - at_most - 1, n)
    total = term = 1
    for count in range(at_most):
        term = term * (n - count) // (count + 1)
        total += term
    return total / (1 << n)


def exact(*, worse: float, better: float) -> Exact:
    """Build the three p-values from the two tails, none below what can be said."""
    worse, better = (min(1.0, max(_SMALLEST_P, value)) for value in (worse, better))
    return Exact(worse=worse, better=better, different=min(1.0, 2 * min(worse, better)))


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 0 or count != int(count):
            raise ValueError(f"{name} must be a whole number from 0; got {count}")
