"""Small functions that build PromQL."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from monitoring.thresholds import duration
from vllm_eval.metrics import Metric

ANY_STACK = ""
"""Selects every stack: what the plain rules file does. Installed rules name their own stack instead."""


def own_stack(stack: str) -> str:
    """Return the matcher of one stack."""
    return f"stack={json.dumps(stack, ensure_ascii=False)}"


@dataclass(frozen=True)
class RecordedSeries:
    """A series that a recording rule keeps: without ``model_tag``, pod or instance.

    A comparison over time between raw series ends with the first label that
    changes; a new ``model_tag`` always does. These keep their identity.

    Parameters
    ----------
    metric
        What is recorded.
    by
        The labels that stay.
    what
        Last part of the name.
    """

    metric: Metric
    by: Sequence[str]
    what: str = "current"

    @property
    def name(self) -> str:
        """The series' name, ``level:metric:operation``."""
        return f"{'_'.join(self.by)}:{self.metric.name}:{self.what}"


def select(name: str, *matchers: str) -> str:
    """Return an instant selector; empty matchers are left out."""
    given = ", ".join(filter(None, matchers))
    return f"{name}{{{given}}}" if given else name


def aggregate(how: str, by: Sequence[str], vector: str) -> str:
    """Return an aggregation."""
    return f"{how} by ({', '.join(by)}) ({vector})"


def last(series: str, window: int, *, ago: int = 0) -> str:
    """Return the last value of `series` within `window` seconds, as of `ago` seconds before now."""
    offset = f" offset {duration(ago)}" if ago else ""
    return f"last_over_time({series}[{duration(window)}]{offset})"


def number(value: float) -> str:
    """Return a number without binary noise: ``1 - 0.1`` is ``0.9``."""
    return f"{value:.6g}"
