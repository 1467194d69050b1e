"""The exchange test of a mean of leaves' means: exact where it can be, an upper bound elsewhere."""

import itertools
import math
import random

import pytest

from vllm_eval import strata
from vllm_eval.compare import BASELINE_RUNS, TaskScore, compare
from vllm_eval.stats import exchange
from vllm_eval.strata import Stratum, exchange_means


def brute(leaves: list[Stratum]) -> tuple[float, float]:
    """Try every exchange of every unit."""
    whole = math.lcm(*(leaf.size for leaf in leaves))  # so that the sums are whole numbers, and exact
    units = [(whole // leaf.size, unit) for leaf in leaves for unit in zip(leaf.candidate, *leaf.baseline, strict=True)]
    observed = sum(weight * unit[0] for weight, unit in units)
    sums = [
        sum(w * c for (w, _), c in zip(units, draw, strict=True)) for draw in itertools.product(*(u for _, u in units))
    ]
    return sum(each <= observed for each in sums) / len(sums), sum(each >= observed for each in sums) / len(sums)


def leaves_of(draw: random.Random, sizes: tuple[int, ...], runs: int, most: int = 1) -> list[Stratum]:
    def counts(size: int) -> list[int]:
        return [draw.randint(0, most) for _ in range(size)]

    return [Stratum(counts(size), [counts(size) for _ in range(runs)], size * most) for size in sizes]


@pytest.mark.parametrize(("sizes", "runs", "most"), [((3, 4, 5), 1, 1), ((2, 5), 3, 1), ((2, 3), 2, 3), ((4, 4), 1, 1)])
def test_it_is_what_every_exchange_gives(sizes: tuple[int, ...], runs: int, most: int) -> None:
    draw = random.Random(1)  # noqa: S311
    for _ in range(5):
        leaves = leaves_of(draw, sizes, runs, most)
        test = exchange_means(leaves)
        assert (test.worse, test.better) == pytest.approx(brute(leaves), abs=1e-12)


def test_a_rounded_lattice_gives_upper_bounds_that_are_close(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(2)  # noqa: S311
    for _ in range(5):
        leaves = leaves_of(draw, (60, 48, 80, 40), 10)
        exact = exchange_means(leaves)
        with monkeypatch.context() as patch:
            patch.setattr(strata, "_MOST_POINTS", 0)
            rounded = exchange_means(leaves)
        assert rounded != exact
        for bound, value in zip(rounded[:2], exact[:2], strict=True):
            assert value - 1e-12 <= bound <= value * 1.2 + 1e-3


def test_leaves_of_one_size_are_one_pool() -> None:
    leaves = leaves_of(random.Random(3), (40, 40, 40), 5)  # noqa: S311
    pooled = exchange(
        [each for leaf in leaves for each in leaf.candidate],
        [[each for leaf in leaves for each in leaf.baseline[run]] for run in range(5)],
    )
    assert exchange_means(leaves) == pytest.approx(pooled, abs=1e-12)


def test_a_small_leaf_counts_as_much_as_a_large_one_and_only_its_own_noise() -> None:
    """Pooled, 30 lost items of 1,030 are 3 %; as a mean of two leaves they are half of the score."""

    def run(small: float) -> TaskScore:
        correct = {
            **{f"large/{item}": True for item in range(1000)},
            **{f"small/{item}": item >= 30 * (1 - small) for item in range(30)},
        }
        return TaskScore(
            task_hash="h", engine_version="e", n=1030, mean=(1 + small) / 2, correct=correct, by_leaf=True
        )  # fmt: skip

    assert compare(run(0.0), [run(1.0)] * BASELINE_RUNS, series=10).verdict == "worse"
    assert compare(run(1.0), [run(1.0)] * BASELINE_RUNS, series=10).verdict == "same"
    with pytest.raises(ValueError, match="mean of the leaves' means"):
        TaskScore(task_hash="h", engine_version="e", n=2, mean=0.5, correct={"a/1": True, "b/1": True}, by_leaf=True)


def test_a_mean_of_means_without_single_items_is_inconclusive_and_says_so() -> None:
    score = TaskScore(task_hash="h", engine_version="e", n=100, mean=0.5, by_leaf=True)
    found = compare(score, [score, score], series=1)
    assert (found.verdict, found.p_value, found.baseline_mean) == ("inconclusive", None, 0.5)
    assert "mean of its leaves' means" in found.facts.sentence()
