"""What the task YAML files beside this share: reading local items, and the normal form of an answer."""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]  # it ships no types

HERE = Path(__file__).resolve().parent

_LABEL = re.compile(r"^(?:the answer is|answer|정답은|정답|답은|답)\s*:?\s*", re.IGNORECASE)
_ENDING = re.compile(r"(?:입니다|이에요|예요|이다)$")
_MARKS = " \t.!?,;:'\"`*()[]「」『』“”‘’。"
_NUMBER = re.compile(r"(?<!\d)-?\d+(?:\.\d+)?")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def load_items(data_files: Mapping[str, str | Sequence[str]], **_: object) -> datasets.DatasetDict:
    """Read JSON Lines whose paths are relative to this folder, from any working directory.

    lm_eval calls this as the ``custom_dataset`` of a task with the task's
    ``dataset_kwargs`` and ``metadata``. Its own loader would resolve the paths
    against the process' working directory, and keep a copy on disk.

    Parameters
    ----------
    data_files
        Split name to its file or files; an absolute path is used as it is.

    Raises
    ------
    OSError
        A file cannot be read.
    ValueError
        A line is not a JSON object; the text names the file and the line.
    """
    splits = {split: [names] if isinstance(names, str) else names for split, names in data_files.items()}
    return datasets.DatasetDict(
        {
            split: datasets.Dataset.from_list([row for name in names for row in _read(HERE / name)])
            for split, names in splits.items()
        }
    )


def _read(path: Path) -> list[dict[str, Any]]:
    rows = []
    # Not splitlines(): a JSON string may hold U+2028, which it takes for the end of a line.
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: not a JSON object: {line[:80]}")  # noqa: TRY004 - it is the text
        rows.append(row)
    return rows


def answers(responses: Iterable[Sequence[str]], docs: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """Bring the responses to each item into normal form: a ``custom`` filter of lm_eval."""
    return [
        [normal_form(response, number=str(doc["answer"]).isdigit()) for response in per_item]
        for per_item, doc in zip(responses, docs, strict=True)
    ]


def normal_form(response: str, *, number: bool) -> str:
    """Reduce a response to what is compared with the item's answer.

    1. Unicode NFKC; the first line that is not blank.
    2. A number is wanted: its last number without thousands separators,
       leading zeros or a fraction of zero ("7 + 5 = 12 apples." is "12").
       Without a number it is "".
    3. Text is wanted: a label ("Answer:", "정답은"), quotation marks, ending
       punctuation and the polite ending ("입니다", "이에요", "예요", "이다") are
       taken off; blanks are made single and letters small.
    """
    text = unicodedata.normalize("NFKC", response)
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if number:
        found = _NUMBER.findall(_THOUSANDS.sub("", line))
        return _plain(found[-1]) if found else ""
    bare = _LABEL.sub("", line).strip(_MARKS)
    bare = _ENDING.sub("", bare).strip(_MARKS)
    return " ".join(bare.casefold().split())


def _plain(number: str) -> str:
    sign, digits = ("-", number[1:]) if number.startswith("-") else ("", number)
    whole, _, fraction = digits.partition(".")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    plain = f"{whole}.{fraction}" if fraction else whole
    return plain if plain == "0" else sign + plain
