"""One request to the model and its answer; the words that engines and the pool share."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

from vllm_eval.spool import Kept

# Why a server ended an answer, in small letters. A reason that stands in none of these
# lists, or no reason, is not the server's word that the answer is finished.
FINISHED = frozenset({
    "stop",  # OpenAI, vLLM, SGLang, llama.cpp, TensorRT-LLM, Ollama, Gemini
    "eos", "eos_token", "stop_sequence",  # text-generation-inference
    "end_turn",  # Anthropic, Bedrock
    "complete", "completed",  # Cohere; gateways
    "end_id", "stop_words",  # TensorRT-LLM
})  # fmt: skip
CUT = frozenset({
    "length", "max_tokens", "max_output_tokens", "max_new_tokens", "model_length",
    "repetition",  # vLLM: the answer repeated itself until the server ended it
})  # fmt: skip
# The server refuses to answer this very request; asked again, it will most likely refuse again.
REFUSED = frozenset({
    "content_filter", "content_filtered", "guardrail_intervened", "refusal", "safety", "recitation", "blocklist",
    "prohibited_content", "spii", "error_toxic", "tool_calls", "tool_use", "function_call",
})  # fmt: skip


# How the reason of a Failure begins whose request was never sent, because another of its task had failed.
NOT_ASKED = "not asked"


class ResponseKind(Protocol):
    """What is wanted of a response other than a text.

    ``path`` is below the endpoint, or below the server's root if it begins
    with a slash; ``key`` tells apart requests of one body; answers that are not
    ``recorded`` are asked anew by each attempt. ``heavy``: a server can bear
    few of them at a time.
    """

    @property
    def path(self) -> str:
        """Where it is sent."""

    @property
    def key(self) -> str:
        """What tells it apart."""

    @property
    def recorded(self) -> bool:
        """Whether the answer is kept."""

    @property
    def heavy(self) -> bool:
        """Whether few fit at a time."""

    def read(self, body: Mapping[str, Any]) -> "Answer | str":
        """Return the answer, or what is wrong with the response (``LookupError`` and the like mean: it is none)."""


@dataclass(frozen=True)
class Request:
    """One item's question as it will be sent.

    ``payload`` is the whole JSON body, generation settings included;
    ``repeat`` tells apart several answers wanted for the same body;
    ``wanted`` is None for a text.
    """

    task: str
    task_hash: str
    doc_id: int
    repeat: int
    payload: Mapping[str, Any]
    wanted: ResponseKind | None = None

    @cached_property
    def key(self) -> str:
        """Name of the durable answer: SHA-256 of everything that may change it.

        Two items of a task with the same body have the same key: they are
        asked once. Two tasks never have the same key.
        """
        parts = [self.task_hash, self.repeat, self.payload, *([self.wanted.key] if self.wanted is not None else [])]
        text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Answer:
    """What the model said, as the server sent it: thoughts in the text are not taken out yet.

    ``text`` is None when the server sent null; ``served`` is the model id in
    the response, None when the server names none. ``values`` are the
    log-probabilities (natural) that were wanted, ``greedy`` whether each is the
    likeliest token's; ``ids`` are tokens. ``thought`` is what the server sent
    apart (``reasoning``), kept on disk; ``tokens`` counts what it generated,
    ``thought_tokens`` those of the thought, both by its own word. Times are
    seconds: of the whole request, to the first token, and the mean from token
    to token; the latter two as far as the server or a stream tells them.
    """

    text: str | None
    finish_reason: str | None
    served: str | None
    values: tuple[float, ...] | None = None
    greedy: tuple[bool, ...] | None = None
    ids: tuple[int, ...] | None = None
    thought: Kept | None = None
    tokens: int | None = None
    thought_tokens: int | None = None
    seconds: float | None = None
    first_token: float | None = None
    between_tokens: float | None = None

    @property
    def finished(self) -> bool:
        """Whether the server said that the answer is whole, or cut by the token limit."""
        return _word(self.finish_reason) in FINISHED or self.truncated

    @property
    def truncated(self) -> bool:
        """Whether the token limit cut the answer."""
        return _word(self.finish_reason) in CUT

    @property
    def refused(self) -> bool:
        """Whether the server refused to give the answer."""
        return _word(self.finish_reason) in REFUSED


@dataclass(frozen=True)
class Failure:
    """A request that got no answer.

    ``reason`` is for people and holds no secret. ``cause`` says whose fault it
    is: the endpoint's (a retry may help), the input's, or that the server
    answered and its answer supports no score (verification).
    """

    reason: str
    cause: Literal["endpoint", "input", "verification"] = "endpoint"


def _word(finish_reason: str | None) -> str:
    return (finish_reason or "").lower()
