"""Reads an answer that is streamed token by token (server-sent events), and puts it together with its times.

The whole answer then goes through the checks of any other: a stream that
breaks off has no reason of its end, and is asked again.
"""

import json
import time
from dataclasses import dataclass, field
from typing import Any

# Sent beside the request's own keys.
ASKED = {"stream": True, "stream_options": {"include_usage": True}}


@dataclass
class Stream:
    """What has come of an answer; times are ``time.monotonic()`` seconds."""

    begun: float
    pieces: dict[str, list[str]] = field(default_factory=dict)
    finish_reason: object = None
    rest: dict[str, Any] = field(default_factory=dict)
    chat: bool = False
    first: float | None = None
    last: float | None = None
    chunks: int = 0
    _torn: bytes = b""

    def feed(self, content: bytes) -> None:
        """Read what has come: events, the last of which may be torn. ``[DONE]`` and comments say nothing.

        Raises
        ------
        ValueError, TypeError
            An event is no JSON object.
        """
        *lines, self._torn = (self._torn + content).split(b"\n")
        for line in lines:
            if line.startswith(b"data:") and (data := line[len(b"data:") :].strip()) != b"[DONE]":
                self.take(data)

    def take(self, data: bytes) -> None:
        """Read one event.

        Raises
        ------
        ValueError, TypeError
            It is no JSON object.
        """
        event = json.loads(data)
        if not isinstance(event, dict):
            raise TypeError("an event is no object")
        for key in ("model", "usage", "error", "metrics"):
            if event.get(key):
                self.rest[key] = event[key]
        # One answer is asked for; the last event, with the usage, has no choice.
        for choice in (event.get("choices") or ())[:1]:
            self.chat = self.chat or "delta" in choice
            delta = choice.get("delta") if "delta" in choice else {"content": choice.get("text")}
            self._add(delta or {})
            self.finish_reason = choice.get("finish_reason") or self.finish_reason

    def _add(self, delta: dict[str, Any]) -> None:
        parts = {key: delta.get(key) for key in ("content", "reasoning", "reasoning_content", "refusal")}
        said = {key: part for key, part in parts.items() if isinstance(part, str) and part}
        for key, part in said.items():
            self.pieces.setdefault(key, []).append(part)
        if said:
            self.last = time.monotonic()
            self.first = self.first or self.last
            self.chunks += 1

    def whole(self) -> bytes:
        """Return the response as a server sends it that does not stream."""
        texts = {key: "".join(parts) for key, parts in self.pieces.items()}
        said: dict[str, Any] = {"message": {"content": None, **texts}} if self.chat else {"text": texts.get("content")}
        choice = {"index": 0, "finish_reason": self.finish_reason, **said}
        return json.dumps({**self.rest, "choices": [choice]}).encode()

    def times(self, tokens: int | None) -> tuple[float | None, float | None]:
        """Return seconds to the first token, and the mean from token to token; a chunk may hold several tokens."""
        if self.first is None or self.last is None:
            return None, None
        count = tokens if tokens is not None else self.chunks
        return self.first - self.begun, (self.last - self.first) / (count - 1) if count > 1 else None
