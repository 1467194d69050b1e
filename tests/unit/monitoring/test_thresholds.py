"""The one setting that shortens every window, and the durations in Prometheus' notation."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.thresholds import Windows, duration, parse_duration


def test_a_drill_shrinks_all_windows_in_proportion() -> None:
    windows = Windows.scaled("10m")
    assert windows == Windows(day=600, interval=5, lookback=25, hold=4, stale=900, grace=150, unsettled=900, usual=4200)


def test_the_default_is_the_shipped_table() -> None:
    assert Windows.scaled() == Windows.scaled("24h") == Windows()


def test_a_stack_that_evaluates_weekly_is_patient() -> None:
    assert Windows.scaled(stale="10d") == Windows(stale=864_000, unsettled=864_000)
    assert Windows.scaled("12h", "10d").stale == 432_000


def test_a_run_may_take_hours() -> None:
    assert Windows.scaled(stale="6h").stale == 21_600
    with pytest.raises(
        ValueError, match="stale is '5h': a run may take hours, so it is missed after 6h at the earliest"
    ):
        Windows.scaled(stale="5h")


@given(st.integers(120, 86_400), st.integers(1, 120))
def test_no_window_of_any_day_is_too_short_for_the_rules_to_see(seconds: int, scrape: int) -> None:
    windows = Windows.scaled(duration(seconds), scrape=scrape)
    assert windows.day == seconds
    assert windows.interval <= 60
    assert windows.lookback >= 3 * max(windows.interval, scrape)
    assert windows.grace >= windows.lookback
    assert windows.stale > windows.day
    assert all(value >= 1 for value in dataclasses.astuple(windows))


@pytest.mark.parametrize("text", ["", "10", "1.5h", "-1h", "1 h", "h", "10ms", "24H", "1h30m", "1w"])
def test_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration: write a whole number"):
        Windows.scaled(text)


@pytest.mark.parametrize("text", ["119s", "25h", "2d", "0s"])
def test_no_day(text: str) -> None:
    with pytest.raises(ValueError, match=f"day is '{text}': a day of the alert rules is from 2m to 24h"):
        Windows.scaled(text)


@given(st.integers(1, 100 * 86_400))
def test_durations_are_read_back(seconds: int) -> None:
    assert parse_duration(duration(seconds)) == seconds


def test_durations_are_written_in_their_largest_whole_unit() -> None:
    assert [duration(s) for s in (5, 60, 90, 3_600, 86_400, 129_600, 172_800, 604_800)] == [
        "5s", "1m", "90s", "1h", "24h", "36h", "2d", "7d",
    ]  # fmt: skip
