"""False alarms and found drops, counted on made-up histories with known truth."""

from pathlib import Path

import pytest

from tests.monitoring.simulation import compared
from tests.monitoring.simulation.compared import Outcome
from tests.monitoring.simulation.play import play

FEW = 8
ALL_FOUND = Outcome(FEW, late=0, lost=0, after=0)
NONE_FOUND = Outcome(0, late=0, lost=0, after=0)


def test_three_weeks_of_noise_raise_no_alert_of_ours(tmp_path: Path) -> None:
    firing = play(tmp_path, compared.QUIET[0].tasks(21, seed=7, series=24))
    assert compared.alarms(firing, "EvaluationRegression") == 0
    assert compared.alarms(firing, "CustomTaskRegression") == 0
    # The histories are noisy enough for a rule that does not allow for noise.
    assert compared.alarms(firing, "Origin") > 0


@pytest.mark.parametrize("drop", compared.DROPS, ids=lambda drop: drop.what)
def test_drops(tmp_path: Path, drop: compared.Drop) -> None:
    outcomes = drop.outcomes(tmp_path, seed=1, series=FEW)
    assert outcomes["EvaluationRegression"] == ALL_FOUND
    assert outcomes["CustomTaskRegression"] == (ALL_FOUND if drop.sudden else NONE_FOUND)
    # The plain rule finds only what changes no label, and loses that after a day.
    plain = outcomes["Origin"]
    assert plain.found == plain.lost


@pytest.mark.bench
def test_the_page_tells_which_drops_are_found(tmp_path: Path) -> None:
    assert compared.table("drops", tmp_path) == compared.written("drops"), (
        "docs/alerts-compared.md is stale: run `python -m tests.monitoring.simulation.compared drops`"
    )


@pytest.mark.bench
@pytest.mark.parametrize("number", range(len(compared.QUIET)), ids=lambda number: compared.QUIET[number].what)
def test_a_year_of_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int) -> None:
    row = compared.QUIET[number].row(tmp_path, seed=number)
    with capsys.disabled():
        print(f"\nalarms in a year of {compared.SERIES} series that do not change: {compared.HEAD}\n{row}")
    plain, custom_task, evaluation = map(int, row.cells)
    assert evaluation <= 1
    assert custom_task < plain
    assert str(row) in compared.written("noise"), (
        "docs/alerts-compared.md is stale: run `python -m tests.monitoring.simulation.compared noise`"
    )
