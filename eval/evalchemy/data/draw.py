"""Reproducible random draws for the item generators."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Item:
    """One question with its only right answer.

    ``kind`` names the template, so that a report can show which sort of
    question a model fails; ``answer`` is in the normal form that
    ``tasks/utils.py`` gives to a model's answer.
    """

    kind: str
    question: str
    answer: str


@dataclass(frozen=True)
class Level:
    """How hard an item is.

    ``rank`` counts from 1; ``term`` is the largest number that is added or
    taken away, ``factor`` the largest that is multiplied.
    """

    rank: int
    term: int
    factor: int


# From what a model of 0.3 billion parameters can do to what a large one finds
# hard without a chain of thought: a score near 0 or 1 would see no regression.
LEVELS = (Level(1, 6, 5), Level(2, 12, 9), Level(3, 50, 12), Level(4, 99, 19))


class Draw:
    """A seeded source of draws.

    Only ``random.Random.random()`` is used: Python promises its sequence for
    a seed across versions, and promises nothing for ``randrange``, ``choice``
    or ``sample``.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - reproducible, not secret

    def number(self, low: int, high: int) -> int:
        """Return an integer from ``low`` to ``high``, both included."""
        return low + int(self._random.random() * (high - low + 1))

    def one(self, values: Sequence[T]) -> T:
        """Return one of ``values``."""
        return values[self.number(0, len(values) - 1)]

    def some(self, values: Sequence[T], count: int) -> list[T]:
        """Return ``count`` different entries of ``values``, in random order."""
        left = list(values)
        return [left.pop(self.number(0, len(left) - 1)) for _ in range(count)]

    def numbers(self, low: int, high: int, count: int) -> list[int]:
        """Return ``count`` different integers from ``low`` to ``high``, in random order."""
        return self.some(range(low, high + 1), count)
