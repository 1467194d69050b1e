"""What a task's items are, and where they come from; equal items have one digest, wherever they come from."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vllm_eval.errors import TaskError
from vllm_eval.items import Item, Items


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """A task's items as they are after ``process_docs``.

    ``repository`` and ``commit`` are the hub's (empty: the items are of no
    hub), ``config`` the data set's configuration. ``items`` are scored;
    ``fewshot`` are what examples are drawn from, None where the task uses none
    or has them in its YAML. ``digest`` is a SHA-256 over both, in hex.
    ``loaded`` is lm_eval's task where it is loaded already.
    """

    repository: str
    commit: str
    config: str | None
    digest: str
    items: Items
    fewshot: Items | None = None
    loaded: Any = None


def to_lines(items: Iterable[Mapping[str, Any]], source: str) -> bytes:
    """Write items as JSON Lines; equal items give equal bytes on every machine.

    The order of an item's fields is kept: lm_eval's hash of an item, which
    names it in the results, depends on it.

    Raises
    ------
    TaskError
        An item has a value that JSON cannot hold as it is: bytes, a date, an image, NaN.
    """
    lines = []
    for number, item in enumerate(items, start=1):
        try:
            line = json.dumps(item, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError) as error:
            raise TaskError(f"{source}: item {number} cannot be written as JSON: {error}") from None
        if json.loads(line) != item:
            raise TaskError(f"{source}: item {number} is another one after it is written as JSON: {line[:200]}")
        lines.append(f"{line}\n")
    return "".join(lines).encode("utf-8", "surrogatepass")


def from_lines(content: bytes) -> list[Item]:
    """Read what :func:`to_lines` wrote."""
    # Not splitlines: JSON strings may hold U+2028 and its like.
    return [json.loads(line) for line in content.decode("utf-8", "surrogatepass").split("\n") if line]


def sha256(content: bytes) -> str:
    """Return the SHA-256 of ``content``, in hex."""
    return hashlib.sha256(content).hexdigest()


def digest_of(items: str, fewshot: str | None) -> str:
    """Return the digest of a task's data from the SHA-256 of its items and of its few-shot items."""
    return sha256(json.dumps([items, fewshot]).encode())
