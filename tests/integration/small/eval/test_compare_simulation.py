"""What the verdicts are worth: a year of 100 unchanged models, and models that got worse.

Fixed seeds, the real comparison. tests/bench/bench_statistics.py runs the same
with many seeds; its figures are in the docstring of vllm_eval/compare.py.
"""

import numpy as np
import pytest

from tests.support.simulated_scores import (
    CELLS,
    Cell,
    false_alarms,
    is_worse,
    level,
    power,
    sift,
    task_score,
    ten_drops,
)
from vllm_eval.compare import compare

SEED = 2026
GREEDY, SAMPLED = Cell(0.8, 500, sampled=False), Cell(0.8, 500, sampled=True)


def rng(*place: int) -> np.random.Generator:
    """A generator of its own for each test, so that no test changes another's draws."""
    return np.random.default_rng([SEED, *place])


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_100_unchanged_models_give_one_false_alarm_a_year_at_most(cell: Cell) -> None:
    """The mean of the worst cell is 0.55, and two are seen in one of ten years there (bench): the seed is fixed."""
    assert false_alarms(cell, rng(1, CELLS.index(cell))) <= 1


@pytest.mark.parametrize("cell", [Cell(0.5, 100, sampled=True), Cell(0.2, 500, sampled=True)], ids=str)
def test_the_simulation_leaves_out_no_alarm(cell: Cell) -> None:
    """Runs that ``sift`` does not pass on are far from the level: at 3 standard deviations p is 1e-4 at least."""
    generator = rng(2)
    pinned = cell.baseline(generator)
    runs = [
        run
        for drop in (0.1, 0.2, 0.3)
        for run in sift(cell.runs(generator, 200, drop), pinned, least=2.0)
        if not list(sift(run[np.newaxis], pinned))
    ]
    assert len(runs) > 30
    p_values = [compare(task_score(run), pinned, series=100).p_value or 0 for run in runs]
    assert min(p_values) > 30 * level()


def test_a_drop_of_15_percent_is_called() -> None:
    """From 0.8, with 500 items and greedy decoding: by at least 95 of 100 runs."""
    assert power(GREEDY, rng(3), 0.15, baselines=20, runs=20) >= 0.95


def test_a_drop_of_15_percent_is_called_although_answers_are_sampled() -> None:
    """The bench has 0.954 of 20,000 runs; 400 runs with 40 baselines tell that from 0.9, not from 0.95."""
    assert power(SAMPLED, rng(3), 0.15, baselines=40, runs=10) >= 0.92


@pytest.mark.parametrize("cell", [GREEDY, SAMPLED], ids=str)
def test_ten_drops_of_2_percent_are_called_by_the_last(cell: Cell) -> None:
    """The baseline does not follow them."""
    assert all(ten_drops(cell, rng(4, seed), same_tag=False) for seed in range(20))


def test_drops_under_the_baselines_own_tag_do_not_draw_it_down() -> None:
    """They begin on the second day, while the baseline is gathered: what differs does not join."""
    assert all(ten_drops(GREEDY, rng(5, seed), same_tag=True) for seed in range(20))


def test_a_regression_is_not_taken_back_by_a_lucky_run() -> None:
    """15 % below, sampled: 300 runs, none of which is called the same or better; nearly all are called worse."""
    generator = rng(6)
    verdicts = []
    for _ in range(10):
        pinned = SAMPLED.baseline(generator)
        verdicts += [
            compare(task_score(run), pinned, series=100).verdict for run in SAMPLED.runs(generator, 30, drop=0.15)
        ]
    assert {"same", "better"}.isdisjoint(verdicts)
    assert verdicts.count("worse") > 270


def test_a_fixed_model_is_soon_called_the_same_again() -> None:
    generator = rng(7)
    pinned = SAMPLED.baseline(generator)
    verdicts = [compare(task_score(run), pinned, series=100).verdict for run in SAMPLED.runs(generator, 60)]
    assert verdicts.count("same") > 45
    assert not any(is_worse(run, pinned) for run in SAMPLED.runs(generator, 60))
