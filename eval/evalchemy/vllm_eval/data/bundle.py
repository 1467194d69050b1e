"""A bundle: the items of tasks as files, with a manifest that says what each is and where it is from.

::

    manifest.json
    tasks/<task>/<split>.jsonl            the items that are scored
    tasks/<task>/fewshot-<split>.jsonl    what few-shot examples are drawn from

The manifest names each file with its SHA-256; nothing else of a bundle is read
or believed. docs/data.md tells people about it.
"""

import json
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vllm_eval.data.task_data import TaskData, digest_of, from_lines, sha256
from vllm_eval.errors import DataError, StorageError, TaskError
from vllm_eval.items import Items, Origin
from vllm_eval.storage import Storage

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class File(_Part):
    """One file: its content and how many items it holds."""

    sha256: Sha256
    size: Annotated[int, Field(ge=0)]
    items: Annotated[int, Field(ge=0)]


class BundledTask(_Part):
    """One task's data.

    ``gated`` is the hub's word: ``no``, or how access is given (``auto``,
    ``manual``). ``items`` and ``fewshot`` are paths in the bundle.
    ``num_fewshot`` is the task's own number of examples.
    """

    repository: str
    commit: str
    config: str | None
    licence: str | None
    gated: str
    split: str
    items: str
    num_fewshot: Annotated[int, Field(ge=0)]
    fewshot_split: str | None = None
    fewshot: str | None = None


class Manifest(_Part):
    """``manifest.json``; the same tasks at the same commits give the same bytes."""

    format: Literal[1] = FORMAT
    lm_eval: str
    tasks: dict[str, BundledTask]
    files: dict[str, File]

    def to_bytes(self) -> bytes:
        """Return the manifest as it is stored."""
        return (json.dumps(self.model_dump(), sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


class Bundle:
    """A bundle that was opened; each file is verified when it is read.

    Parameters
    ----------
    storage
        Its folder, or the bucket's prefix.
    location
        How people named it, for messages.
    lm_eval
        Version of the installed lm_eval.

    Raises
    ------
    TaskError
        There is no bundle, its manifest is damaged, or another version made it.
    DataError
        It cannot be reached.
    """

    def __init__(self, storage: Storage, location: str, lm_eval: str) -> None:
        self._storage = storage
        self.location = location
        content = self._read(MANIFEST)
        if content is None:
            raise TaskError(f"{location}: there is no {MANIFEST}; make a bundle with `vllm-eval bundle TASK --out …`")
        self.manifest = self._parse(content)
        if self.manifest.lm_eval != lm_eval:
            raise TaskError(
                f"{location}: the bundle was made with lm_eval {self.manifest.lm_eval}, and this is {lm_eval}, whose "
                "tasks may make other items; make the bundle with the version that reads it"
            )

    def data_of(self, name: str, num_fewshot: int | None) -> TaskData:
        """Read and verify one task's items.

        Parameters
        ----------
        num_fewshot
            How many examples are asked for; None: as many as the task's own YAML says.

        Raises
        ------
        TaskError
            The bundle lacks the task or its few-shot items, or a file is not the manifest's.
        DataError
            The bundle cannot be read now.
        """
        entry = self.manifest.tasks.get(name)
        if entry is None:
            known = ", ".join(list(self.manifest.tasks)[:10]) or "none"
            raise TaskError(f"{self.location}: the bundle has no task {name!r}; it has {known}")
        shots = entry.num_fewshot if num_fewshot is None else num_fewshot
        if shots and entry.fewshot is None and entry.fewshot_split is not None:
            raise TaskError(
                f"{self.location}: {name} is asked with {shots} examples, and the bundle has none for it; "
                "make the bundle with --fewshot"
            )
        items = self._items(name, entry.items)
        drawn = entry.fewshot if shots else None
        files = self.manifest.files
        return TaskData(
            repository=entry.repository,
            commit=entry.commit,
            config=entry.config,
            digest=digest_of(files[entry.items].sha256, files[drawn].sha256 if drawn else None),
            items=items,
            fewshot=self._items(name, drawn) if drawn else None,
        )

    def _items(self, name: str, path: str) -> Items:
        wanted = self.manifest.files.get(path)
        if wanted is None:
            raise TaskError(f"{self.location}/{MANIFEST}: {name} names {path}, which is not among its files")
        content = self._read(path)
        if content is None:
            raise TaskError(f"{self.location}: {path} is missing; copy the whole bundle again")
        found = sha256(content)
        if found != wanted.sha256:
            other = next((file for file, entry in self.manifest.files.items() if entry.sha256 == found), None)
            what = f"holds what {other} should" if other else f"is damaged or was changed (SHA-256 {found[:12]}…)"
            raise TaskError(
                f"{self.location}: {path} {what}, not what the manifest says (SHA-256 {wanted.sha256[:12]}…); "
                "copy the bundle again"
            )
        rows = from_lines(content)
        return Items(rows, [Origin(Path(path), number + 1) for number in range(len(rows))])

    def _parse(self, content: bytes) -> Manifest:
        try:
            return Manifest.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise TaskError(
                f"{self.location}/{MANIFEST}: {where}: {first['msg']}; this version reads format {FORMAT}"
            ) from None

    def _read(self, path: str) -> bytes | None:
        try:
            return self._storage.read(path)
        except StorageError as error:
            raise DataError(f"{self.location}: {error}") from None
