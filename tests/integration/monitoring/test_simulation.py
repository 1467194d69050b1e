"""False alarms and found drops, counted on made-up histories with known truth."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.simulation import compared
from tests.support.simulation.compared import Outcome
from tests.support.simulation.play import play

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
@pytest.mark.parametrize("number", range(len(compared.DROPS)), ids=lambda number: compared.DROPS[number].what)
def test_a_hundred_drops(tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int) -> None:
    drop = compared.DROPS[number]
    outcomes = drop.outcomes(tmp_path, seed=compared.DROP_SEED + number)
    row = compared.Row(drop.what, tuple(map(str, outcomes.values())))
    _say(capsys, f"{compared.SERIES} drops: {compared.HEAD}", row)
    ours = outcomes["EvaluationRegression"]
    assert ours.found - ours.late >= 0.95 * compared.SERIES
    assert ours.lost == 0
    _is_on_the_page(row, "drops")


@pytest.mark.bench
@pytest.mark.parametrize("number", range(len(compared.QUIET)), ids=lambda number: compared.QUIET[number].what)
def test_a_year_of_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int) -> None:
    row = compared.QUIET[number].row(tmp_path, seed=number)
    _say(capsys, f"alarms in a year of {compared.SERIES} series that do not change: {compared.HEAD}", row)
    plain, custom_task, evaluation = map(int, row.cells)
    assert evaluation <= 1
    assert custom_task < plain
    _is_on_the_page(row, "noise")


def _say(capsys: pytest.CaptureFixture[str], head: str, row: compared.Row) -> None:
    with capsys.disabled():
        print(f"\n{head}\n{row}")


def _is_on_the_page(row: compared.Row, section: str) -> None:
    assert str(row) in compared.written(section).splitlines(), (
        f"docs/alerts-compared.md is stale: run `python -m tests.support.simulation.compared {section}`"
    )


@pytest.mark.parametrize(("section", "rows"), [("drops", compared.DROPS), ("noise", compared.QUIET)])
def test_the_page_has_a_line_for_each_history(section: str, rows: Sequence[compared.Drop | compared.Quiet]) -> None:
    head, rule, *lines = compared.written(section).splitlines()
    assert f"{head}\n{rule}" == compared.HEAD
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == [row.what for row in rows]
