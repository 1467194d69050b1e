"""Copies the pages and results of the last runs out of a store, to be read on a laptop."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vllm_eval.errors import RunSettingsError
from vllm_eval.pages.words import ENGLISH, Words
from vllm_eval.pages.write import PAGE, lines_of, write_index
from vllm_eval.results import run_folder
from vllm_eval.storage import LocalStorage, Storage

RESULT = "result.json"
ANSWERS = ("samples", "values", "thoughts")


@dataclass(frozen=True)
class RunFilter:
    """Which runs: of one stack and model or, with None, of all; the ``last`` of each model, with ``answers`` or not."""

    stack: str | None = None
    model: str | None = None
    last: int = 5
    answers: bool = False


def fetch_runs(source: Storage, target: Path, wanted: RunFilter, t: Words = ENGLISH) -> int:
    """Copy what is not there yet into a folder, make its index, and return the number of runs.

    Raises
    ------
    RunSettingsError
        No run is meant.
    StorageError
        A file cannot be read or written.
    """
    storage = LocalStorage(target)
    runs = 0
    for path, lines in _models(source, wanted):
        folders = [run_folder(line["stack"], line["model"], line["run"]) for line in lines]
        for folder in folders[: wanted.last]:
            _copy_run(source, target, storage, folder, answers=wanted.answers)
            runs += 1
        # The index must not link to pages that were not copied.
        pages = [f"{folder}/{PAGE}" for folder in folders]
        shown = [quote(page) if (target / page).is_file() else None for page in pages]
        told = [{**line, "page": page} for line, page in zip(lines, shown, strict=True)]
        storage.write(path, json.dumps(told).encode())
    if not runs:
        raise RunSettingsError(_nothing(source, wanted))
    write_index(storage, t)
    return runs


def _models(source: Storage, wanted: RunFilter) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield each model's file of the index, and its lines."""
    for folder in source.list("pages"):
        for name in source.list(f"pages/{folder}"):
            path = f"pages/{folder}/{name}"
            lines = lines_of(source.read(path))
            if lines and wanted.stack in {None, lines[0]["stack"]} and wanted.model in {None, lines[0]["model"]}:
                yield path, lines


def _copy_run(source: Storage, target: Path, storage: Storage, folder: str, *, answers: bool) -> None:
    """Copy a run's files that are not there yet: an ended run never changes."""
    paths = [f"{folder}/{RESULT}", f"{folder}/{PAGE}"]
    if answers:
        paths += [f"{folder}/{part}/{name}" for part in ANSWERS for name in source.list(f"{folder}/{part}")]
    for path in paths:
        if not (target / path).is_file() and (content := source.read(path)) is not None:
            storage.write(path, content)


def _nothing(source: Storage, wanted: RunFilter) -> str:
    every = [lines[0] for _, lines in _models(source, RunFilter())]
    known = ", ".join(sorted({f"{line['model']} of stack {line['stack']}" for line in every})) or "none"
    asked = " ".join(
        f"--{key} {value!r}" for key, value in (("stack", wanted.stack), ("model", wanted.model)) if value is not None
    )
    return f"no run with a report is there{f' for {asked}' if asked else ''}; models with reports: {known}"
