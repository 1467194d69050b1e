"""The origin's rule beside ours on the same histories, as the table of docs/alerts-compared.md.

``python -m tests.support.simulation.compared drops`` writes the table of
drops anew, ``… noise`` that of the years of noise, which takes ten minutes.
"""

import random
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.simulation.histories import (
    Noise,
    Task,
    falling,
    flips,
    from_day,
    mixture,
    sampled,
    steady,
    stopped,
)
from tests.support.simulation.judge import judge
from tests.support.simulation.play import ALERTS, STEPS, Firing, onsets, play
from workbench.paths import REPOSITORY

PAGE: Final = REPOSITORY / "docs" / "alerts-compared.md"
SERIES: Final = 100
YEAR: Final = 365
DROP_DAY: Final = 5
CURE_DAY: Final = 13
DAYS: Final = 16
DROP_SEED: Final = 100
GREEDY: Final = flips(0.02)


@dataclass(frozen=True)
class Row:
    """One line of a table: what happened, and what each alert made of it."""

    what: str
    cells: tuple[str, ...]

    def __str__(self) -> str:
        """Return the line as Markdown."""
        return f"| {self.what} | {' | '.join(self.cells)} |"


@dataclass(frozen=True)
class Quiet:
    """Models that do not change, for a year: every alert is a false one."""

    what: str
    shares: tuple[float, ...]
    sizes: tuple[int, ...]
    noise: Noise

    def tasks(self, days: int, *, seed: int, series: int = SERIES) -> list[Task]:
        """Return the judged histories."""
        rng = random.Random(seed)  # noqa: S311 (made-up histories, not secrets)
        kinds = mixture(self.shares, self.sizes, series)
        return [judge(steady(task, share, days, self.noise, rng), series=SERIES) for task, share in kinds]

    def row(self, folder: Path, *, seed: int) -> Row:
        """Return how often each alert began."""
        firing = play(folder, self.tasks(YEAR, seed=seed), timeout=3600)
        return Row(self.what, tuple(str(alarms(firing, alert)) for alert in ALERTS))


def alarms(firing: Firing, alert: str) -> int:
    """Count how often an alert began, over all models."""
    return sum(onsets(looks) for looks in firing[alert].values())


QUIET: Final = (
    Quiet("100 and 500 items, greedy, 2 % flips", (0.2, 0.5, 0.8, 0.95), (100, 500), GREEDY),
    Quiet("20 and 50 items, greedy, 2 % flips", (0.2, 0.5, 0.8, 0.95), (20, 50), GREEDY),
    Quiet("100 and 500 items, sampled", (0.2, 0.5, 0.8, 0.95), (100, 500), sampled),
)


@dataclass(frozen=True)
class Outcome:
    """What one alert made of the drops of several models, each a number of models.

    ``late`` was found more than a day after the drop, ``lost`` ended while the
    model was still down, ``after`` was still told two days after the cure.
    """

    found: int
    late: int
    lost: int
    after: int

    def __str__(self) -> str:
        """Return the cell of a table; what is zero is left out, except for lost ones."""
        late = f", {self.late} late" if self.late else ""
        after = f", {self.after} after the cure" if self.after else ""
        return f"{self.found} found{late}, {self.lost} lost{after}" if self.found else "none found"


@dataclass(frozen=True)
class Drop:
    """A drop by 15 % from 0.8 on 500 items, and what else happens with it."""

    what: str
    change: Callable[[Task], Task] = lambda task: task
    shares: tuple[float, ...] = (0.8,) * DROP_DAY + (0.68,) * (CURE_DAY - DROP_DAY) + (0.8,) * (DAYS - CURE_DAY)
    cured: bool = True
    sudden: bool = True

    def outcomes(self, folder: Path, *, seed: int, series: int = SERIES) -> dict[str, Outcome]:
        """Return what each alert made of it."""
        rng = random.Random(seed)  # noqa: S311 (made-up histories, not secrets)
        tasks = [Task(f"model-{number:03}", 500) for number in range(series)]
        for task in tasks:
            judge(self.change(falling(task, list(self.shares), GREEDY, rng)), series=SERIES)
        firing = play(folder, tasks)
        return {alert: self._outcome(firing[alert]) for alert in ALERTS}

    def row(self, folder: Path, *, seed: int) -> Row:
        """Return the line of the table."""
        return Row(self.what, tuple(map(str, self.outcomes(folder, seed=seed).values())))

    def _outcome(self, firing: dict[str, set[int]]) -> Outcome:
        drop, cure, end = DROP_DAY * STEPS, CURE_DAY * STEPS, DAYS * STEPS
        down = range(drop + 1, (cure if self.cured else end) + 1)
        found = [looks for looks in firing.values() if looks & set(down)]
        late = [looks for looks in found if self.sudden and not looks & set(down[: STEPS + 1])]
        lost = [looks for looks in found if down[-1] not in looks]
        after = [looks for looks in found if self.cured and end in looks]
        return Outcome(len(found), len(late), len(lost), len(after))


def _new_tag_every_day(task: Task) -> Task:
    for day in range(1, len(task.days)):
        from_day(task, day, tag=f"v{day + 1}")
    return task


DROPS: Final = (
    Drop("the same tag"),
    Drop("a new tag with the drop", lambda task: from_day(task, DROP_DAY, tag="v2")),
    Drop("a new tag every day", _new_tag_every_day),
    Drop("a new gateway pod with the drop", lambda task: from_day(task, DROP_DAY, pod="gateway-b")),
    Drop("evaluations stop after the drop", lambda task: stopped(task, DROP_DAY + 1), cured=False),
    Drop(
        "ten daily drops of 2 %",
        shares=tuple(0.8 * 0.98 ** max(0, min(day - DROP_DAY + 1, 10)) for day in range(DAYS)),
        cured=False,
        sudden=False,
    ),
)


HEAD: Final = f"| | {' | '.join(ALERTS)} |\n|---|{'---|' * len(ALERTS)}".replace("Origin", "plain rule")


def table(section: str, folder: Path) -> str:
    """Return one table as Markdown."""
    if section == "drops":
        rows = [drop.row(folder, seed=DROP_SEED + number) for number, drop in enumerate(DROPS)]
    else:
        rows = [quiet.row(folder, seed=number) for number, quiet in enumerate(QUIET)]
    return "\n".join([HEAD, *map(str, rows)])


def written(section: str) -> str:
    """Return the table that the page has.

    Raises
    ------
    ValueError
        If the page lacks the section's marks.
    """
    found = _marked(section).search(PAGE.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{PAGE} has no marks <!-- {section} --> … <!-- /{section} -->")
    return found[2]


def _marked(section: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {section} -->\n)(.*?)\n?(<!-- /{section} -->)", re.DOTALL)


def main() -> None:
    """Write the named tables into the page."""
    for section in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            _write(section, table(section, Path(folder)))


def _write(section: str, new: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_marked(section).sub(lambda found: f"{found[1]}{new}\n{found[3]}", page), encoding="utf-8")


if __name__ == "__main__":
    main()
