"""Counts and times of a task's answers, beside their score."""

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Record(BaseModel):
    """Base of what is stored: unknown keys are ignored, so that an older version can read a newer file."""

    model_config = ConfigDict(extra="ignore", frozen=True)


# Of a task's answers: the usual one, a slow one, one of the slowest.
QUANTILES: Final = (0.5, 0.9, 0.99)


class Quantiles(Record):
    """Seconds that half, nine tenths and 99 of 100 answers did not exceed."""

    p50: Finite
    p90: Finite
    p99: Finite


class Speed(Record):
    """How fast a task's answers came, as far as it was measured; answers that were taken over among them.

    ``request`` is the time of a whole request; ``first_token`` and
    ``between_tokens`` are the server's own (vLLM with
    ``--enable-per-request-metrics``), or a stream's. ``tokens`` is the mean
    number of tokens of an answer, thought included.
    """

    request: Quantiles | None = None
    first_token: Quantiles | None = None
    between_tokens: Quantiles | None = None
    tokens: Finite | None = None


def quantiles(values: Iterable[float | None]) -> Quantiles | None:
    """Return the quantiles of the times, each of which is one of them; None without any."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    p50, p90, p99 = (known[ceil(share * len(known)) - 1] for share in QUANTILES)
    return Quantiles(p50=p50, p90=p90, p99=p99)


def mean(values: Sequence[int | None]) -> float | None:
    """Return the mean of the counts; None without any."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


class Thoughts(Record):
    """What the models' thoughts of one task came to.

    ``answers`` hold a thought, of which ``unfinished`` were cut by the token
    limit before it ended; ``in_text`` have tags of thoughts in their text.
    ``tokens`` is None where the server does not count them.
    """

    answers: int = 0
    unfinished: int = 0
    in_text: int = 0
    characters: int = 0
    tokens: int | None = None
