"""The items of a task, packed for the page's script."""

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass

from vllm_eval.pages.words import ENGLISH, Words
from vllm_eval.records import ItemValues, Sample

# A longer text is cut in the page, which says so; the whole one is in the samples file.
MAX_TEXT = 200_000

Cell = str | float | None


@dataclass(frozen=True)
class Counts:
    """How many items are shown, wrong, and judged otherwise than in the other run."""

    items: int
    wrong: int
    lost: int
    gained: int


def rows(
    samples: Sequence[Sample], others: Sequence[Sample] | None, baseline: Sequence[ItemValues], t: Words = ENGLISH
) -> tuple[list[list[Cell]], Counts]:
    """Return one row for each answer, and their counts.

    A row is: item, value, prompt, target, answer, judged, finish reason; then
    the other run's value, answer, judged, finish reason, None where it lacks
    the item; then in how many runs of the baseline the item was right, None
    without a baseline. Both answers of an item stand close together, so that
    compression finds what they share.
    """
    by_item = {(sample.item, sample.repeat): sample for sample in others or ()}
    repeated = any(sample.repeat for sample in samples)
    right: dict[str, int] = {}
    for values in baseline:
        for item, value in zip(values.items, values.values, strict=True):
            right[item] = right.get(item, 0) + (value >= 1.0)
    table: list[list[Cell]] = []
    wrong = lost = gained = 0
    for sample in samples:
        row: list[Cell] = [
            sample.item + (f" #{sample.repeat + 1}" if repeated else ""), sample.value, _short(t, sample.prompt),
            _short(t, sample.target), _short(t, sample.answer), _short(t, sample.judged), sample.finish_reason,
        ]  # fmt: skip
        other = by_item.get((sample.item, sample.repeat))
        if other is None:
            row += [None, None, None, None]
        else:
            row += [other.value, _short(t, other.answer), _short(t, other.judged), other.finish_reason]
            lost += other.value > sample.value
            gained += other.value < sample.value
        row.append(right.get(sample.item) if baseline else None)
        wrong += sample.value < 1.0
        table.append(row)
    return table, Counts(items=len(table), wrong=wrong, lost=lost, gained=gained)


def packed(table: Sequence[Sequence[Cell]]) -> str:
    """Return the rows as JSON, compressed, in base64: no character of it means anything to HTML."""
    # ASCII, so that a lone surrogate stays what it is; mtime 0, so that equal rows make equal pages.
    text = json.dumps(table, ensure_ascii=True, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode("ascii"), compresslevel=4, mtime=0)).decode("ascii")


def _short(t: Words, text: str | None) -> str | None:
    if text is None or len(text) <= MAX_TEXT:
        return text
    return text[:MAX_TEXT] + t(
        "\n… [cut here: {count} characters in all; the samples file has the whole text]", count=len(text)
    )
