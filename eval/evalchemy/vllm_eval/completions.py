"""One request to an OpenAI-compatible endpoint: sent once, and its response judged."""

import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from vllm_eval.endpoint import describe, excerpt
from vllm_eval.requests import Answer
from vllm_eval.secrets import Redactor

# Far above any answer that max_tokens allows; a server that sends more is broken.
MAX_BODY_BYTES = 32 << 20
# 404: some ingresses answer it while a backend is replaced.
RETRIED = frozenset({404, 408, 409, 425, 429, *range(500, 600)})


@dataclass(frozen=True)
class Retry:
    """No answer this time. ``after`` is the server's own wish in seconds (Retry-After)."""

    reason: str
    after: float | None = None


@dataclass(frozen=True)
class Rejected:
    """No answer, and asking again cannot help; ``everywhere``: nor can any other request."""

    reason: str
    everywhere: bool = False


Outcome = Answer | Retry | Rejected


async def ask_once(session: aiohttp.ClientSession, url: str, body: bytes, redactor: Redactor) -> Outcome:
    """POST one request and judge the response; never raises for what a server or network does."""
    try:
        async with session.post(
            url, data=body, headers={"Content-Type": "application/json"}, allow_redirects=False
        ) as response:
            content = await _read_limited(response)
            if content is None:
                return Rejected(f"the response is larger than {MAX_BODY_BYTES >> 20} MiB")
            if response.status == 200:
                return parse_answer(content, redactor)
            return _judge_status(response, content, redactor)
    except TimeoutError:
        return Retry("no answer within the request's time-out")
    except (aiohttp.ClientError, OSError) as error:
        return Retry(redactor.text(describe(error)))


async def _read_limited(response: aiohttp.ClientResponse) -> bytes | None:
    if response.content_length is not None and response.content_length > MAX_BODY_BYTES:
        return None
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _judge_status(response: aiohttp.ClientResponse, content: bytes, redactor: Redactor) -> Outcome:
    reason = f"HTTP {response.status}: {excerpt(content, redactor)}"
    if response.status in RETRIED:
        return Retry(reason, retry_after(response.headers.get("Retry-After")))
    if response.status in {401, 403}:
        return Rejected(reason, everywhere=True)
    if 300 <= response.status < 400:
        return Rejected(f"{reason} (redirects to {response.headers.get('Location')})", everywhere=True)
    return Rejected(reason)


def retry_after(value: str | None) -> float | None:
    """Read a Retry-After header in seconds.

    The date form is ignored on purpose: it would trust two clocks to agree.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if 0 <= seconds < 86400 else None


def parse_answer(content: bytes, redactor: Redactor) -> Outcome:
    """Read a completions or chat response.

    Null or empty text is an answer (and counted as empty); a body that is not
    the API's shape is none.
    """
    try:
        body: Any = json.loads(content)
        choice = body["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        finish_reason = choice.get("finish_reason")
        served = body.get("model")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return Retry(f"the response is not a completion: {excerpt(content, redactor)}")
    if text is not None and not isinstance(text, str):
        return Retry(f"the response's text is no text: {excerpt(content, redactor)}")
    if finish_reason in {"abort", "error"}:
        return Retry(f"the server gave up on the answer (finish_reason {finish_reason!r})")
    return Answer(
        text=None if text is None else redactor.text(text),
        finish_reason=finish_reason if isinstance(finish_reason, str) else None,
        served=served if isinstance(served, str) else None,
    )
