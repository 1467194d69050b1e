"""Read a task's items from local files, so that each is what its file says.

Readers that put rows into typed columns (Arrow, pandas) change items without a
word: the first row's fields become everybody's, ``7`` becomes ``7.0`` beside a
``3.5``, a date a timestamp, ``NA`` nothing. Here an item is one Python dict with
its own keys and the types of its file: JSON's types from JSON, text from CSV and
text files, the columns' own types from Parquet and Arrow (where a field that a
row lacks is null, since the format knows no other way).
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from vllm_eval.errors import TaskError
from vllm_eval.items import Item, Items, Origin
from vllm_eval.strict import refuse_constant, unique_pairs

_DECOMPRESS: Final[Mapping[bytes, Callable[[bytes], bytes]]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ": lzma.decompress,
}


@dataclass(frozen=True, kw_only=True)
class Format:
    """How the files of a task are to be read: lm_eval's ``dataset_path`` and its options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


def read_items(files: Sequence[Path], form: Format) -> Items:
    """Read the items of all files of a split, in the files' order.

    Raises
    ------
    TaskError
        Naming the file, the line and the field: the file cannot be read, is
        not UTF-8, or holds what could not reach a prompt as it is written.
    """
    rows: list[Item] = []
    origins: list[Origin] = []
    for file in files:
        for number, row in _READERS[form.name](file, form.options):
            rows.append(row)
            origins.append(Origin(file, number, "row" if form.name in {"parquet", "arrow"} else "line"))
    return Items(rows, origins)


def _bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TaskError(f"{path}: cannot be read: {error.strerror}") from None
    for magic, decompress in _DECOMPRESS.items():
        if content.startswith(magic):
            try:
                return decompress(content)
            except (OSError, EOFError, lzma.LZMAError) as error:
                raise TaskError(f"{path}: cannot be decompressed: {error}") from None
    return content


def _text(path: Path) -> str:
    content = _bytes(path)
    try:
        # With or without a byte order mark, which is no part of the first item.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise TaskError(
            f"{path}, line {line}: not UTF-8 (byte 0x{content[error.start]:02x}); save the file as UTF-8"
        ) from None


def _json(path: Path, options: Mapping[str, Any]) -> Iterator[tuple[int, Item]]:
    """Read JSON Lines, one JSON array, or the array that stands under ``field``."""
    text = _text(path)
    if options.get("field") is not None:
        yield from _json_field(path, text, str(options["field"]))
    elif text.lstrip().startswith("["):
        yield from _json_array(path, text, text.index("["))
    else:
        yield from _json_lines(path, text)


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, Item]]:
    # Not splitlines: JSON strings may hold U+2028 and its like, which end no line of a JSONL file.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = _DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            raise TaskError(f"{path}, line {number}: {_json_problem(error, line)}{_pretty(line)}") from None
        yield number, _item(path, number, value)


def _pretty(line: str) -> str:
    if line.strip() not in {"{", "["} and not line.rstrip().endswith((",", "{", "[")):
        return ""
    return "; write one item a line, all items in one array, or name the array's key in dataset_kwargs.field"


def _json_array(path: Path, text: str, start: int) -> Iterator[tuple[int, Item]]:
    """Read the array that begins at ``start``, item by item, so that each has its line."""
    position, line, counted = start + 1, 1, 0
    first = True
    while True:
        position = _blank(text, position)
        line += text.count("\n", counted, position)
        counted = position
        mark = text[position : position + 1]
        if mark == "]" and first:
            position += 1
            break
        try:
            value, position = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise TaskError(f"{path}, line {line}: {_json_problem(error, text[position:])}") from None
        yield line, _item(path, line, value)
        first = False
        position = _blank(text, position)
        mark = text[position : position + 1]
        position += 1
        if mark == "]":
            break
        if mark != ",":
            raise TaskError(f"{path}, line {line}: not JSON: the array has {mark!r} where ',' or ']' must be")
    rest = _blank(text, position)
    if rest < len(text):
        where = text.count("\n", 0, rest) + 1
        raise TaskError(
            f"{path}, line {where}: there is more behind the array of items; an item a line must be an object"
        )


def _blank(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _json_field(path: Path, text: str, name: str) -> Iterator[tuple[int, Item]]:
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{path}: {_json_problem(error, text)}") from None
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, list):
        keys = ", ".join(value) if isinstance(value, dict) else f"no object but {type(value).__name__}"
        raise TaskError(f"{path}: dataset_kwargs.field is {name!r}, which is no array of items there ({keys})")
    for number, row in enumerate(found, start=1):
        yield number, _item(path, number, row)


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text} is too large")
    return value


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=unique_pairs, parse_constant=refuse_constant, parse_float=_number
)  # fmt: skip


def _json_problem(error: Exception, text: str) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} at {text[error.pos :][:20]!r}" if error.doc == text else f"not JSON: {error.msg}"
    return f"cannot be taken as it is: {error}"


def _item(path: Path, number: int, value: object) -> Item:
    if not isinstance(value, dict):
        raise TaskError(f"{path}, line {number}: an item must be a JSON object, is {json.dumps(value)[:80]}")
    return value


_CSV_OPTIONS: Final[Mapping[str, str]] = {
    "sep": "delimiter",
    "delimiter": "delimiter",
    "quotechar": "quotechar",
    "escapechar": "escapechar",
}


def _csv(path: Path, options: Mapping[str, Any]) -> Iterator[tuple[int, Item]]:
    """Read CSV: every cell is a text, ``NA``, ``01234`` and an empty one too."""
    csv.field_size_limit(sys.maxsize)
    given = {_CSV_OPTIONS[key]: value for key, value in options.items() if key in _CSV_OPTIONS}
    names = options.get("column_names", options.get("names"))
    header = list(names) if names is not None else None
    line = 1
    try:
        reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True, **given)
        for cells in reader:
            first, line = line, reader.line_num + 1
            if not cells:
                continue
            if header is None:
                header = _header(path, first, cells)
                continue
            if len(cells) != len(header):
                raise TaskError(
                    f"{path}, line {first}: {len(cells)} cells, but the header has {len(header)} "
                    f"({', '.join(header)}); quote a cell that holds the separator"
                )
            yield first, dict(zip(header, cells, strict=True))
    except (csv.Error, TypeError) as error:
        raise TaskError(f"{path}, line {line}: not CSV: {error}") from None


def _header(path: Path, line: int, cells: list[str]) -> list[str]:
    twice = next((cell for number, cell in enumerate(cells) if cell in cells[:number]), None)
    if twice is not None:
        raise TaskError(f"{path}, line {line}: the header has {twice!r} twice; rename one")
    return cells


def _lines(path: Path, options: Mapping[str, Any]) -> Iterator[tuple[int, Item]]:
    """Read a text file: an item a line, a paragraph or the document, under the key ``text``."""
    text = _text(path).replace("\r\n", "\n")
    by = options.get("sample_by", "line")
    if not text:
        return
    if by == "document":
        yield 1, {"text": text}
        return
    line = 1
    for part in text.removesuffix("\n").split("\n" if by == "line" else "\n\n"):
        if by == "line" or part.strip():
            yield line, {"text": part.strip("\n")}
        line += part.count("\n") + (1 if by == "line" else 2)


def _parquet(path: Path, options: Mapping[str, Any]) -> Iterator[tuple[int, Item]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path, columns=options.get("columns"), partitioning=None)
    except (pyarrow.ArrowException, OSError) as error:
        raise TaskError(f"{path}: not Parquet: {error}") from None
    yield from enumerate(table.to_pylist(), start=1)


def _arrow(path: Path, options: Mapping[str, Any]) -> Iterator[tuple[int, Item]]:  # noqa: ARG001 - as all readers
    import pyarrow

    try:
        with pyarrow.memory_map(str(path)) as source:
            try:
                table = pyarrow.ipc.open_stream(source).read_all()
            except pyarrow.ArrowInvalid:
                table = pyarrow.ipc.open_file(source).read_all()
            rows = table.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise TaskError(f"{path}: not an Arrow file: {error}") from None
    yield from enumerate(rows, start=1)


_READERS: Final[Mapping[str, Callable[[Path, Mapping[str, Any]], Iterator[tuple[int, Item]]]]] = {
    "json": _json,
    "csv": _csv,
    "text": _lines,
    "parquet": _parquet,
    "arrow": _arrow,
}

# What each format takes besides data_files; any other option would be obeyed by nobody.
OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    "json": frozenset({"field"}),
    "csv": frozenset({*_CSV_OPTIONS, "names", "column_names"}),
    "text": frozenset({"sample_by"}),
    "parquet": frozenset({"columns"}),
    "arrow": frozenset(),
}

SUFFIXES: Final[Mapping[str, str]] = {
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "text",
    ".parquet": "parquet",
    ".arrow": "arrow",
}
