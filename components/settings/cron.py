"""Schedules and time zones as Kubernetes reads them: the rules of robfig/cron, which no Python library has."""

import difflib
import functools
import itertools
import re
from datetime import date, timedelta
from typing import Final
from zoneinfo import available_timezones

WORDS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
DEFAULT: Final = "0 18 * * *"
# Abbreviations that the database of time zones does not have, or that several zones share.
_ABBREVIATIONS: Final = {
    "KST": "Asia/Seoul", "JST": "Asia/Tokyo", "SGT": "Asia/Singapore", "IST": "Asia/Kolkata", "BST": "Europe/London",
    "CEST": "Europe/Berlin", "PST": "America/Los_Angeles", "PDT": "America/Los_Angeles", "EDT": "America/New_York",
}  # fmt: skip
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: Final[tuple[tuple[str, int, int, dict[str, int]], ...]] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of the week", 0, 6, {name: number for number, name in enumerate(_DAYS)}),
)
# Five years from here have every usual combination of date and day of the week, and a leap day.
_FROM: Final = date(2027, 1, 1)
_DAYS_LOOKED_AT: Final = 5 * 366


@functools.cache
def longest_gap(schedule: str) -> timedelta:
    """Return the longest time between two runs of a schedule, not counting changes of daylight saving time.

    Raises
    ------
    ValueError
        Kubernetes would refuse the schedule, or it never comes.
    """
    text = schedule.strip()
    if text.startswith("@"):
        if text not in WORDS:
            raise ValueError(f"no such word; there are {', '.join(WORDS)}")
        text = WORDS[text]
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"has {len(fields)} fields, not five")
    minutes, hours, days, months, weekdays = (
        _values(each, *about) for each, about in zip(fields, _FIELDS, strict=True)
    )
    # Where both fields are restricted, a day that fits one of them is enough.
    either = not any(part in {"*", "?", "*/1"} for each in (fields[2], fields[4]) for part in each.split(","))
    times = [60 * hour + minute for hour in sorted(hours) for minute in sorted(minutes)]
    gap = max((later - earlier for earlier, later in itertools.pairwise(times)), default=0)
    last: int | None = None
    for offset in range(_DAYS_LOOKED_AT):
        day = _FROM + timedelta(days=offset)
        in_month, in_week = day.day in days, (day.weekday() + 1) % 7 in weekdays
        if day.month in months and (in_month or in_week if either else in_month and in_week):
            if last is not None:
                gap = max(gap, offset * 1440 + times[0] - last)
            last = offset * 1440 + times[-1]
    if last is None:
        raise ValueError("never comes: no month has that day")
    return timedelta(minutes=gap)


def _values(text: str, name: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"([*?]|\w+)(?:-(\w+))?(?:/(\d+))?", part)
        if match is None or (match[1] in "*?" and match[2]):
            raise ValueError(f"{part!r} is no {name}")
        step = int(match[3] or 1)
        first, last = low, high
        if match[1] not in "*?":
            first = _number(match[1], name, names)
            last = _number(match[2], name, names) if match[2] else high if match[3] else first
        if not low <= first <= last <= high or step == 0:
            raise ValueError(f"{part!r} is no {name}, which is from {low} to {high}")
        found |= set(range(first, last + 1, step))
    return found


def _number(text: str, name: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not text.isdecimal():
        raise ValueError(f"{text!r} is no {name}")
    return int(text)


def meant(text: str) -> tuple[str, str | None]:
    """Return the schedule that a text was meant to be (or a default), and the time zone if the text names one."""
    zone, rest = None, text.strip()
    if named := re.fullmatch(r"(?:CRON_)?TZ=(\S+)\s+(.+)", rest):
        zone, rest = named.groups()
    fields = rest.split()
    if every := re.fullmatch(r"@?every\s+(\d+)\s*([mh])\w*", rest.lower()):
        number, unit = int(every[1]), every[2]
        rest = {("h", 24): "0 0 * * *", ("h", 1): "0 * * * *"}.get((unit, number), "")
        if not rest and number and (24 if unit == "h" else 60) % number == 0:
            rest = f"0 */{number} * * *" if unit == "h" else f"*/{number} * * * *"
    elif len(fields) <= 1:
        rest = f"@{rest.lower().lstrip('@').replace('nightly', 'daily')}"
    else:
        # Quartz and Spring begin with seconds; in other crons Sunday is 7 as well.
        fields = fields[1:6] if len(fields) in {6, 7} else fields
        rest = " ".join([*fields[:-1], re.sub(r"(?<![-/\d])7(?![-/\d])", "0", fields[-1])])
    try:
        longest_gap(rest)
    except ValueError:
        rest = DEFAULT
    return rest, zone


@functools.cache
def time_zones() -> frozenset[str]:
    """Return the names of all time zones, from hundreds of files; empty on a machine without a database of them."""
    return frozenset(available_timezones())


def zone_meant(text: str) -> str | None:
    """Return the time zone that a text was meant for: a city, an abbreviation, an offset, or nearly a name."""
    if offset := re.fullmatch(r"(?:UTC|GMT)?\s*([+-])0?(\d{1,2})(?::?00)?", text.upper()):
        # Etc/GMT-9 is nine hours ahead of UTC, because POSIX inverts the sign.
        name = f"Etc/GMT{'-' if offset[1] == '+' else '+'}{offset[2]}"
        return name if name in time_zones() else None
    word = re.sub(r"\W+", "_", text.strip()).lower()
    cities = sorted(each for each in time_zones() if each.rpartition("/")[2].lower() == word and "/" in each)
    close = difflib.get_close_matches(text, sorted(time_zones()), n=1, cutoff=0.8)
    return next(iter([*filter(None, [_ABBREVIATIONS.get(text.upper())]), *cities, *close]), None)
