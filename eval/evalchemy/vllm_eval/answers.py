"""Durable answers of unfinished runs, so that no request is sent twice.

Each answer is one line, appended the moment it arrives. A line survives the
process being killed at once; the machine's own crash costs at most the second
between two syncs. A torn last line is ignored.

On a remote storage, which cannot append, lines are collected and written as
numbered objects every few seconds; a kill costs those seconds.
"""

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from vllm_eval.errors import StorageError
from vllm_eval.requests import Answer, Request
from vllm_eval.spool import Kept
from vllm_eval.storage import Storage
from vllm_eval.strict import whole_text

log = logging.getLogger(__name__)

# Fields of an answer that many servers do not fill, and their keys in a line.
_FURTHER: Mapping[str, str] = {
    "tokens": "n", "thought_tokens": "rn", "seconds": "s", "first_token": "sf", "between_tokens": "sb",
}  # fmt: skip
SYNC_SECONDS = 1.0
SEGMENT_SECONDS = 5.0


def scope_of(stack: str, identity: Mapping[str, str], root: str | None) -> str:
    """Name of the answers of one stack and model: everything besides the request that may change an answer."""
    text = json.dumps([stack, dict(identity), root], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Taken:
    """An answer of an earlier attempt and when it was given (Unix seconds)."""

    answer: Answer
    task_hash: str
    time: float


class AnswerStore:
    """The open answers of one scope.

    Parameters
    ----------
    storage
        The results storage; answers are in its folder ``answers/<scope>``.
    max_age
        Seconds; an older answer is not taken over.
    closed
        Task hash to the Unix time at which a run with this task finished:
        answers up to then belong to that score and never to another.
    """

    def __init__(self, storage: Storage, scope: str, *, max_age: float, closed: Mapping[str, float]) -> None:
        self._storage = storage
        self._folder = f"answers/{scope}"
        now = time.time()
        self.taken: dict[str, Taken] = {}
        for name in storage.list(self._folder):
            for key, taken in _parse(_lines(storage, f"{self._folder}/{name}")):
                # A time in the future comes from a wrong clock, so the age of the answer is unknown.
                if now - max_age <= taken.time <= now + 60 and taken.time > closed.get(taken.task_hash, 0):
                    self.taken[key] = taken
        self._writer: _Writer = (
            _Appender(storage, self._folder) if storage.local is not None else _Segments(storage, self._folder)
        )

    def record(self, request: Request, answer: Answer) -> None:
        """Make one answer durable.

        Raises
        ------
        StorageError
            The disk is full or not writable; the run must stop, since it would
            ask for answers that it cannot keep.
        """
        line = {
            "k": request.key, "h": request.task_hash, "x": answer.text, "f": answer.finish_reason,
            "m": answer.served, "t": round(time.time(), 3),
            **({} if answer.values is None else {"v": answer.values, "g": answer.greedy}),
        }  # fmt: skip
        further = ((short, getattr(answer, name)) for name, short in _FURTHER.items())
        line |= {short: value for short, value in further if value is not None}
        if answer.thought is not None:
            line["r"] = answer.thought.text
        self._writer.append(json.dumps(line, ensure_ascii=True).encode() + b"\n")

    def flush(self) -> None:
        """Stop writing; everything recorded is on disk afterwards."""
        self._writer.close()

    def close(self, unfinished: Iterable[str]) -> None:
        """Forget all answers, except those of tasks (by hash) that shall be asked again."""
        self.flush()
        keep = set(unfinished)
        names = self._storage.list(self._folder)
        kept: list[bytes] = []
        for name in names if keep else []:
            lines = _lines(self._storage, f"{self._folder}/{name}")
            kept += [line for line in lines if any(taken.task_hash in keep for _, taken in _parse([line]))]
        if kept:
            # First the copy, then the originals: after a crash between them an answer exists twice, and is never lost.
            self._storage.write(f"{self._folder}/{_file_name()}-kept.jsonl", b"".join(kept))
        for name in names:
            self._storage.delete(f"{self._folder}/{name}")
        if not kept:
            self._storage.delete(self._folder)


def drop_stale(storage: Storage, *, max_age: float) -> None:
    """Delete the answers that no run will take over: of tags and endpoints that are gone.

    A file's name is the time it was begun; a day is added for the run that filled it.
    """
    oldest = (time.time() - max_age - 86400) * 1e9
    for scope in storage.list("answers"):
        begun = [name.split("-", 1)[0] for name in storage.list(f"answers/{scope}")]
        if all(name.isdecimal() and int(name) < oldest for name in begun):
            storage.delete(f"answers/{scope}")


def _file_name() -> str:
    return f"{time.time_ns()}-{os.getpid()}"


def _lines(storage: Storage, path: str) -> Iterator[bytes]:
    """Yield the lines of a file one by one: the answers of a run may not fit into memory."""
    if storage.local is None:
        yield from (storage.read(path) or b"").splitlines(keepends=True)
        return
    try:
        with (storage.local / path).open("rb") as file:
            yield from file
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"cannot read {storage.local / path}: {error.strerror}") from None


def _parse(lines: Iterable[bytes]) -> Iterator[tuple[str, Taken]]:
    for line in lines:
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
            text, finish_reason, served = row["x"], row["f"], row["m"]
            answer = Answer(
                None if text is None else whole_text(text), finish_reason, None if served is None else str(served),
                **_likelihood(row),
                **_further(row),
            )  # fmt: skip
            # Earlier versions also recorded answers that the server had not finished: these are asked again.
            if answer.finished or answer.values is not None:
                yield str(row["k"]), Taken(answer=answer, task_hash=str(row["h"]), time=float(row["t"]))
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
            # A line torn by a crash; its request is simply asked again.
            continue


def _likelihood(row: Mapping[str, Any]) -> dict[str, Any]:
    if "v" not in row:
        return {}
    return {"values": tuple(float(value) for value in row["v"]), "greedy": tuple(bool(flag) for flag in row["g"])}


def _further(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: row[short] for name, short in _FURTHER.items() if row.get(short) is not None}
    thought = {"thought": Kept(whole_text(str(row["r"])))} if row.get("r") is not None else {}
    return {**found, **thought}


class _Writer(Protocol):
    def append(self, line: bytes) -> None: ...

    def close(self) -> None: ...


class _Appender:
    """Appends to one file of this attempt and syncs it once a second in the background."""

    def __init__(self, storage: Storage, folder: str) -> None:
        assert storage.local is not None  # noqa: S101 - for the type checker; the caller has looked
        path = storage.local / folder / f"{_file_name()}.jsonl"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise StorageError(f"cannot write answers to {path}: {error.strerror}") from None
        self._path = path
        self._stop = threading.Event()
        self._dirty = False
        self._thread = threading.Thread(target=self._sync, name="answers-sync", daemon=True)
        self._thread.start()

    def append(self, line: bytes) -> None:
        if self._handle is None:
            raise StorageError(f"{self._path} is closed")
        try:
            written = os.write(self._handle, line)
        except OSError as error:
            raise StorageError(f"cannot write answers to {self._path}: {error.strerror}") from None
        if written != len(line):
            raise StorageError(f"cannot write answers to {self._path}: the disk is full")
        self._dirty = True

    def close(self) -> None:
        if self._handle is None:
            return
        self._stop.set()
        self._thread.join()
        os.close(self._handle)
        self._handle = None

    def _sync(self) -> None:
        stopped = False
        while not stopped:
            stopped = self._stop.wait(SYNC_SECONDS)
            if self._dirty and self._handle is not None:
                self._dirty = False
                try:
                    os.fsync(self._handle)
                except OSError as error:
                    log.warning("cannot sync %s: %s", self._path, error.strerror)


class _Segments:
    """Writes what has been collected as one object every few seconds."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage = storage
        self._prefix = f"{folder}/{_file_name()}"
        self._count = 0
        self._pending: list[bytes] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failure: StorageError | None = None
        self._thread = threading.Thread(target=self._loop, name="answers-segments", daemon=True)
        self._thread.start()

    def append(self, line: bytes) -> None:
        if self._failure is not None:
            raise self._failure
        with self._lock:
            self._pending.append(line)

    def close(self) -> None:
        if not self._stop.is_set():
            self._stop.set()
            self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _loop(self) -> None:
        stopped = False
        while not stopped and self._failure is None:
            stopped = self._stop.wait(SEGMENT_SECONDS)
            with self._lock:
                lines, self._pending = self._pending, []
            if not lines:
                continue
            self._count += 1
            try:
                self._storage.write(f"{self._prefix}-{self._count:06d}.jsonl", b"".join(lines))
            except StorageError as error:
                self._failure = error
