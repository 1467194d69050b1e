"""Runs of a task, day by day, with known truth: which items are answered right, and how often answers flip."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

Bits = int
"""Items of a task, one bit each: 1 is a right answer."""


@dataclass(frozen=True)
class Day:
    """What the last run up to this day published.

    ``right`` and ``verdict`` stay as they were on days without a run.
    """

    right: Bits
    tag: str = "v1"
    pod: str = "gateway-a"
    verdict: str = "no_baseline"
    baseline: float | None = None


@dataclass
class Task:
    """One series: a task of a model, with its days."""

    model: str
    items: int
    days: list[Day] = field(default_factory=list)

    def score(self, day: Day) -> float:
        """Return the exact match of a day."""
        return day.right.bit_count() / self.items


Noise = Callable[[random.Random, Bits, int], Bits]
"""Makes a run's answers from what the model would answer at its steadiest."""


def flips(share: float) -> Noise:
    """Greedy decoding: each answer flips with probability `share`, independently of the day before."""

    def noise(rng: random.Random, truth: Bits, items: int) -> Bits:
        return truth ^ _bits(rng, items, share)

    return noise


def sampled(rng: random.Random, truth: Bits, items: int) -> Bits:
    """Sampling: each item is answered right with the task's share of right answers. The noisiest that there is."""
    return _bits(rng, items, truth.bit_count() / items)


def _bits(rng: random.Random, items: int, share: float) -> Bits:
    return sum(1 << item for item in range(items) if rng.random() < share)


def first(items: int, share: float) -> Bits:
    """Return a truth in which `share` of the items is right."""
    return (1 << round(items * share)) - 1


def steady(task: Task, share: float, days: int, noise: Noise, rng: random.Random) -> Task:
    """Run `days` times a model that does not change."""
    truth = first(task.items, share)
    task.days += [Day(noise(rng, truth, task.items)) for _ in range(days)]
    return task


def falling(task: Task, shares: list[float], noise: Noise, rng: random.Random) -> Task:
    """Run a model whose true share is that of each day; what falls are the items that were right."""
    task.days += [Day(noise(rng, first(task.items, share), task.items)) for share in shares]
    return task


def from_day(task: Task, day: int, *, tag: str | None = None, pod: str | None = None) -> Task:
    """Change tag or pod from `day` on."""
    task.days[day:] = [replace(one, tag=tag or one.tag, pod=pod or one.pod) for one in task.days[day:]]
    return task


def stopped(task: Task, day: int) -> Task:
    """Repeat the last run before `day` from then on: the gateway forgets nothing."""
    task.days[day:] = [task.days[day - 1]] * (len(task.days) - day)
    return task


def mixture(shares: tuple[float, ...], sizes: tuple[int, ...], count: int) -> Iterator[tuple[Task, float]]:
    """Iterate over `count` tasks of all shares and sizes in turn."""
    kinds = [(share, items) for share in shares for items in sizes]
    for number in range(count):
        share, items = kinds[number % len(kinds)]
        yield Task(f"model-{number:03}", items), share
