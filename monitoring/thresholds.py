"""Every number that an alert compares with, and every time window, once.

Expressions and alert texts are formatted from these tables.
"""

import re
from dataclasses import dataclass
from typing import Final

from vllm_eval.metrics import PRACTICAL_DROP

DAY: Final = "24h"
"""The day of the shipped rules. `Windows.scaled` takes a shorter one for drills."""
STALE: Final = "36h"
"""Age of the last run at which a run is missed: one night and half a day. Other schedules need another one."""

DURATION: Final = r"^[0-9]+[smhd]$"
"""A duration: one number and one unit. The stack's settings take no other, though Prometheus itself would."""
_UNITS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
SHORTEST_DAY: Final = "2m"
"""On a shorter day, one failed scrape would end alerts."""
SHORTEST_STALE: Final = "6h"
"""A run may take hours, so no run is missed earlier."""


def parse_duration(text: str) -> int:
    """Return the seconds of a duration such as ``36h``.

    Raises
    ------
    ValueError
        If `text` does not match ``DURATION``.
    """
    if not re.fullmatch(DURATION, text):
        raise ValueError(f"{text!r} is no duration: write a whole number and one of d, h, m, s, such as 24h or 10m")
    return int(text[:-1]) * _UNITS[text[-1]]


@dataclass(frozen=True)
class Thresholds:
    """Numbers without a time in them.

    Parameters
    ----------
    drop
        Relative drop of a score that counts: 0.1 is "more than 10 % below". The runner's verdicts use the same.
    day_noise
        A drop against the day before must also exceed this many standard errors
        of a difference between two independent runs of as many items. For greedy
        decoding, where 2 % of the answers flip, that is more than five standard
        deviations of the real noise; for sampled decoding it is two.
    baseline_noise
        The same against the pinned baseline, used only where the runner gave no
        verdict. One-sided p = 3e-5: one false alarm a year for 100 series that
        are evaluated daily.
    samples_share
        Share of a task's items that must stand behind a score.
    slow_share
        Share of its usual speed below which an endpoint is slow: 0.5 is requests that take twice as long.
    """

    drop: float = float(PRACTICAL_DROP)
    day_noise: float = 2.0
    baseline_noise: float = 4.0
    samples_share: float = 1.0
    slow_share: float = 0.5


@dataclass(frozen=True)
class Windows:
    """Lengths of time, in seconds.

    Parameters
    ----------
    day
        Distance to "the day before". Evaluations are nightly.
    interval
        How often the rules are evaluated.
    lookback
        Longest gap in scraping or in Prometheus itself that changes no alert.
    hold
        `for` of an alert.
    stale
        Age of the last run at which the next one is missed.
    grace
        How long an expected model may be without any run: the runner's deadline
        (4 h) and some waiting.
    unsettled
        `for` of the alerts that only tell that comparisons decide nothing: as
        long as `stale`, so more than one run.
    usual
        Time over which the median speed is the "usual" one.
    """

    day: int = parse_duration(DAY)
    interval: int = 60
    lookback: int = 3_600
    hold: int = 600
    stale: int = parse_duration(STALE)
    grace: int = 21_600
    unsettled: int = parse_duration(STALE)
    usual: int = 7 * parse_duration(DAY)

    @classmethod
    def scaled(cls, day: str = DAY, stale: str = STALE, scrape: int = 5) -> "Windows":
        """Return the windows for a day of another length, all in proportion.

        The rules' interval does not go below 5 s, nor the lookback below three
        evaluations and three scrapes: a failed scrape ends every raw series, and must
        change no alert, also on a short day.

        Parameters
        ----------
        day
            Length of the day. Anything but ``24h`` is for drills.
        stale
            When a run is missed, on days of 24 h.
        scrape
            Seconds between two scrapes of the gateway.

        Raises
        ------
        ValueError
            If `day` or `stale` is no duration, `day` is not from
            ``SHORTEST_DAY`` to ``DAY``, or `stale` is below ``SHORTEST_STALE``.
        """
        seconds = parse_duration(day)
        if not parse_duration(SHORTEST_DAY) <= seconds <= parse_duration(DAY):
            raise ValueError(
                f"day is {day!r}: a day of the alert rules is from {SHORTEST_DAY} to {DAY}; "
                f"{DAY} is for real use, 10m for a drill"
            )
        usual = cls(stale=parse_duration(stale), unsettled=parse_duration(stale))
        if usual.stale < parse_duration(SHORTEST_STALE):
            raise ValueError(
                f"stale is {stale!r}: a run may take hours, so it is missed after {SHORTEST_STALE} at the earliest"
            )

        def scale(length: int, least: int = 1) -> int:
            return max(least, round(length * seconds / parse_duration(DAY)))

        interval = min(usual.interval, scale(usual.interval, 5))
        lookback = scale(usual.lookback, 3 * max(interval, scrape))
        return cls(
            day=seconds,
            interval=interval,
            lookback=lookback,
            hold=scale(usual.hold),
            stale=scale(usual.stale),
            # Not shorter than the lookback: otherwise the alert would call a model lost whose series still counts.
            grace=scale(usual.grace, lookback),
            unsettled=scale(usual.unsettled),
            usual=scale(usual.usual),
        )


def duration(seconds: int) -> str:
    """Return `seconds` as a Prometheus duration in its largest whole unit.

    A single day stays ``24h``, which reads better beside ``36h``.
    """
    for unit in ("d", "h", "m"):
        length = _UNITS[unit]
        if seconds % length == 0 and (unit != "d" or seconds > length):
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
