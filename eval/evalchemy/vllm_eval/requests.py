"""One request to the model and its answer; the words that engines and the pool share."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Request:
    """One item's question as it will be sent.

    ``payload`` is the whole JSON body, generation settings included;
    ``repeat`` tells apart several answers wanted for the same body.
    """

    task: str
    task_hash: str
    doc_id: int
    repeat: int
    payload: Mapping[str, Any]

    @cached_property
    def key(self) -> str:
        """Name of the durable answer: SHA-256 of everything that may change it."""
        text = json.dumps([self.task_hash, self.repeat, self.payload], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Answer:
    """What the model said.

    ``text`` is None when the server sent null; ``served`` is the model id in
    the response, None when the server names none.
    """

    text: str | None
    finish_reason: str | None
    served: str | None

    @property
    def empty(self) -> bool:
        """Whether there is no text to judge."""
        return self.text is None or not self.text.strip()

    @property
    def truncated(self) -> bool:
        """Whether the token limit cut the answer."""
        return self.finish_reason == "length"


@dataclass(frozen=True)
class Failure:
    """A request that got no answer; ``reason`` is for people and holds no secret."""

    reason: str
