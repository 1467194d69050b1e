"""What the task YAML files beside this share: reading local items, and the normal form of an answer."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vllm_eval.items import Items
from vllm_eval.readers import Format, read_items

HERE = Path(__file__).resolve().parent

_LABEL = re.compile(r"^(?:the answer is|answer|정답은|정답|답은|답)\s*:?\s*", re.IGNORECASE)
_ENDING = re.compile(r"(?:입니다|이에요|예요|이다)$")
_MARKS = " \t.!?,;:'\"`*()[]「」『』“”‘’。"
_NUMBER = re.compile(r"(?<!\d)-?\d+(?:\.\d+)?")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def load_items(data_files: Mapping[str, str | Sequence[str]], **options: object) -> dict[str, Items]:
    """Read JSON Lines, or a JSON array, whose paths are relative to this folder, from any working directory.

    lm_eval calls this as the ``custom_dataset`` of a task with the task's
    ``dataset_kwargs`` and ``metadata``. Its own loader would resolve the paths
    against the process' working directory, keep a copy on disk, and give all
    items the fields and types of the first.

    Parameters
    ----------
    data_files
        Split name to its file or files; an absolute path is used as it is.
    options
        ``field``: the key of the array in a file that is one JSON object.

    Raises
    ------
    vllm_eval.errors.TaskError
        A file cannot be read, or holds no items; the text names the file and the line.
    """
    form = Format(name="json", options={"field": options["field"]} if "field" in options else {})
    splits = {split: [names] if isinstance(names, str) else names for split, names in data_files.items()}
    return {split: read_items([HERE / name for name in names], form) for split, names in splits.items()}


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
