"""The statistics against brute force, identities and other people's formulas."""

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from lm_eval.api.metrics import mean_stderr

from vllm_eval.stats import (
    Exact,
    exchange,
    mcnemar,
    significance_level,
    standard_error,
    two_proportions,
    wilson_interval,
)

counts = st.integers(0, 40)


@st.composite
def unit_tables(draw: st.DrawFn, largest: int = 1, runs: int = 3, units: int = 5) -> list[list[int]]:
    """The counts of 2 to ``runs`` runs, the candidate's first, on up to ``units`` units."""
    size = draw(st.integers(1, units))
    row = st.lists(st.integers(0, largest), min_size=size, max_size=size)
    return draw(st.lists(row, min_size=2, max_size=runs))


def by_enumeration(table: Sequence[Sequence[int]]) -> tuple[Fraction, Fraction]:
    """P-values of "worse" and "better" by every way to draw one run's count for each unit."""
    observed = sum(table[0])
    sums = [sum(drawn) for drawn in itertools.product(*zip(*table, strict=True))]
    low, high = (sum(1 for value in sums if test(value)) for test in (observed.__ge__, observed.__le__))
    return Fraction(low, len(sums)), Fraction(high, len(sums))


@given(unit_tables(runs=4, units=6) | unit_tables(largest=4, runs=4))
@example([[0, 3], [2, 3], [2, 0]])
def test_exchange_agrees_with_enumeration_of_items_and_of_clusters(table: list[list[int]]) -> None:
    test = exchange(table[0], table[1:])
    worse, better = by_enumeration(table)
    assert test.worse == pytest.approx(float(worse), rel=1e-12)
    assert test.better == pytest.approx(float(better), rel=1e-12)


@given(losses=counts, gains=counts)
def test_mcnemar_agrees_with_the_binomial(losses: int, gains: int) -> None:
    total = losses + gains
    tail = Fraction(sum(math.comb(total, count) for count in range(gains + 1)), 2**total)
    assert mcnemar(losses, gains).worse == pytest.approx(float(tail), rel=1e-14)


@given(losses=counts, gains=counts, both=counts, neither=counts)
def test_one_baseline_run_gives_mcnemar(losses: int, gains: int, both: int, neither: int) -> None:
    candidate = [0] * losses + [1] * gains + [1] * both + [0] * neither
    baseline = [1] * losses + [0] * gains + [1] * both + [0] * neither
    assert exchange(candidate, [baseline]) == mcnemar(losses, gains)
    # Written as clusters of two right answers, the general way is taken.
    general = exchange([2 * count for count in candidate], [[2 * count for count in baseline]])
    assert general.worse == pytest.approx(mcnemar(losses, gains).worse, rel=1e-12)


def test_mcnemar_has_the_values_of_tables() -> None:
    assert mcnemar(losses=5, gains=0) == Exact(worse=1 / 32, better=1.0, different=1 / 16)
    assert mcnemar(losses=9, gains=1).worse == 11 / 1024
    assert mcnemar(losses=0, gains=0) == Exact(1.0, 1.0, 1.0)
    assert mcnemar(losses=3, gains=3) == Exact(worse=42 / 64, better=42 / 64, different=1.0)


@given(unit_tables(largest=3, runs=4))
def test_exchange_is_symmetric(table: list[list[int]]) -> None:
    test = exchange(table[0], table[1:])
    mirrored = exchange([3 - count for count in table[0]], [[3 - count for count in run] for run in table[1:]])
    assert mirrored.worse == pytest.approx(test.better, rel=1e-12)
    assert mirrored.better == pytest.approx(test.worse, rel=1e-12)
    assert mirrored.different == pytest.approx(test.different, rel=1e-12)


@given(unit_tables(largest=2, runs=4), st.randoms(use_true_random=False))
def test_exchange_does_not_care_about_order(table: list[list[int]], random: object) -> None:
    units = list(zip(*table, strict=True))
    assert hasattr(random, "shuffle")
    random.shuffle(units)
    runs = [list(run) for run in zip(*units, strict=True)]
    assert exchange(runs[0], runs[:0:-1]) == exchange(table[0], table[1:])


@given(unit_tables(runs=4, units=8))
def test_one_more_wrong_answer_is_never_less_worse(table: list[list[int]]) -> None:
    right = [place for place, count in enumerate(table[0]) if count]
    assume(right)
    fewer = list(table[0])
    fewer[right[0]] = 0
    assert exchange(fewer, table[1:]).worse <= exchange(table[0], table[1:]).worse * (1 + 1e-12)


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_a_run_that_changes_nothing_is_not_different(answers: list[bool]) -> None:
    same = [int(answer) for answer in answers]
    assert exchange(same, [same, same, same]) == Exact(1.0, 1.0, 1.0)


@given(counts, counts, counts, counts)
def test_two_proportions_agree_with_the_hypergeometric(a: int, b: int, c: int, d: int) -> None:
    test = two_proportions(a, a + b, c, c + d)
    total, right, n = a + b + c + d, a + c, a + b
    ways = {x: math.comb(right, x) * math.comb(total - right, n - x) for x in range(min(right, n) + 1)}
    whole = math.comb(total, n)
    assert test.worse == pytest.approx(float(Fraction(sum(w for x, w in ways.items() if x <= a), whole)), rel=1e-11)
    assert test.better == pytest.approx(float(Fraction(sum(w for x, w in ways.items() if x >= a), whole)), rel=1e-11)


@given(counts, counts, counts, counts)
def test_two_proportions_are_symmetric(a: int, b: int, c: int, d: int) -> None:
    one, other = two_proportions(a, a + b, c, c + d), two_proportions(c, c + d, a, a + b)
    assert one.worse == pytest.approx(other.better, rel=1e-11)
    assert one.different == pytest.approx(other.different, rel=1e-11)


def test_fisher_has_the_value_of_the_tea_tasting() -> None:
    assert two_proportions(1, 4, 3, 4).worse == pytest.approx(17 / 70)
    assert two_proportions(1, 4, 3, 4).different == pytest.approx(34 / 70)


@pytest.mark.parametrize("n", [500, 20_000])
def test_large_counts_are_safe(n: int) -> None:
    """No underflow, overflow or long wait; nothing outside 0..1; total disaster is as small as can be said."""
    half = [number % 2 for number in range(n)]
    other = [number // 2 % 2 for number in range(n)]
    for test in (
        exchange(half, [other, half, other]),
        exchange([0] * n, [[1] * n]),
        exchange([1] * n, [[0] * n] * 10),
        mcnemar(n, 0),
        mcnemar(n // 2, n // 2),
        two_proportions(0, n, n, n),
        two_proportions(n // 2, n, 10 * n // 2, 10 * n),
        exchange([2 * count for count in half], [[3 * count for count in other], half]),
    ):
        assert all(0 < value <= 1 for value in test)
    assert exchange([0] * n, [[1] * n] * 10).worse < 1e-29
    # The normal approximation is good here; 200 more losses than gains in 20,000.
    middle = mcnemar(n // 2 + n // 100, n // 2 - n // 100).worse
    z = (2 * (n // 100) - 1) / math.sqrt(n)
    assert middle == pytest.approx(math.erfc(z / math.sqrt(2)) / 2, rel=0.01)


@given(n=st.integers(1, 500), share=st.floats(0, 1), confidence=st.floats(0.5, 0.999))
def test_wilson_solves_its_equation(n: int, share: float, confidence: float) -> None:
    """Its ends are the shares p from which the observed one is exactly z standard errors of p away."""
    successes = round(share * n)
    low, high = wilson_interval(successes, n, confidence)
    observed = successes / n
    assert 0 <= low <= observed <= high <= 1
    z_of = [abs(observed - p) / math.sqrt(p * (1 - p) / n) for p in (low, high) if 1e-9 < p < 1 - 1e-9]
    for z in z_of:
        assert math.erf(z / math.sqrt(2)) == pytest.approx(confidence, rel=1e-6)
    mirrored = wilson_interval(n - successes, n, confidence)
    assert mirrored.low == pytest.approx(1 - high, abs=1e-12)
    assert wilson_interval(successes, n, 0.9999).high >= high


def test_wilson_has_a_published_value() -> None:
    """Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, and 0 of 20."""
    assert [round(end, 4) for end in wilson_interval(81, 263)] == [0.2553, 0.3662]
    assert [round(end, 4) for end in wilson_interval(0, 20)] == [0.0, 0.1611]


@given(st.lists(st.booleans(), min_size=2, max_size=200))
def test_error_bars_agree_with_the_binomial(answers: list[bool]) -> None:
    n, mean = len(answers), sum(answers) / len(answers)
    assert standard_error(answers) == pytest.approx(math.sqrt(mean * (1 - mean) / (n - 1)), abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=50))
def test_error_bars_agree_with_lm_eval(values: list[float]) -> None:
    assert standard_error(values) == pytest.approx(mean_stderr(values), abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=50))
def test_clusters_of_one_item_change_nothing(values: list[float]) -> None:
    assert standard_error(values, range(len(values))) == pytest.approx(standard_error(values), abs=1e-15)


@given(st.lists(st.booleans(), min_size=2, max_size=30), st.integers(2, 6))
def test_copies_of_an_item_add_no_certainty(answers: list[bool], copies: int) -> None:
    """A passage whose questions are all answered alike is worth one item."""
    repeated = [answer for answer in answers for _ in range(copies)]
    clusters = [place for place, _ in enumerate(answers) for _ in range(copies)]
    assert standard_error(repeated, clusters) == pytest.approx(standard_error(answers), abs=1e-12)


def test_an_error_bar_needs_two_units() -> None:
    """None, never 0.0: that would look like certainty."""
    assert standard_error([]) is None
    assert standard_error([1.0]) is None
    assert standard_error([1.0, 0.0, 1.0], ["a", "a", "a"]) is None
    assert standard_error([1.0, 1.0]) == 0.0


def test_the_level_shares_out_the_false_alarms_of_a_year() -> None:
    assert significance_level(100) == pytest.approx(0.5 / 36_500)
    assert significance_level(1) == pytest.approx(0.5 / 365)
    assert significance_level(10, looks_per_year=52, false_alarms_per_year=2) == pytest.approx(2 / 520)
    assert significance_level(1, looks_per_year=1, false_alarms_per_year=10) == 0.05


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: mcnemar(-1, 2), "losses must be a whole number from 0; got -1"),
        (lambda: two_proportions(5, 4, 1, 2), "more successes than trials: 5/4, 1/2"),
        (lambda: wilson_interval(3, 0), "got 3 of 0"),
        (lambda: wilson_interval(1, 2, 95), "confidence must be between 0 and 1; got 95"),
        (lambda: exchange([1], []), "at least one baseline run"),
        (lambda: standard_error([1.0, 0.0], ["a"]), "1 clusters for 2 values"),
        (lambda: significance_level(0), "must be above 0"),
    ],
)
def test_impossible_input_is_refused(call: object, text: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=text):
        call()


def test_runs_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        exchange([1, 0], [[1]])
