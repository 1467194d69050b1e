"""One request to an OpenAI-compatible endpoint: sent once, and its response judged."""

import json
import math
import re
import time
from dataclasses import dataclass, replace
from typing import Any, Literal

import aiohttp

from vllm_eval.endpoint import describe, excerpt
from vllm_eval.requests import Answer, ResponseKind
from vllm_eval.secrets import Redactor
from vllm_eval.spool import Kept
from vllm_eval.streams import Stream
from vllm_eval.strict import shown

# Far above any answer that max_tokens allows; a server that sends more is broken.
MAX_BODY_BYTES = 32 << 20
# In a stream each token comes in a JSON object of its own, which takes more bytes.
STREAM_OVERHEAD = 64
MAX_MESSAGE_BYTES = 4096
# 404: some ingresses answer it while a backend is replaced.
RETRIED = frozenset({404, 408, 409, 425, 429, *range(500, 600)})
# Parts of a message's content that are said to the user; thoughts, images and sound are not.
TEXT_PARTS = {"text": "text", "output_text": "text", "refusal": "refusal"}
# How vLLM, SGLang, llama.cpp, text-generation-inference and OpenAI say that a prompt does not fit.
TOO_LONG = re.compile(
    r"(maximum|model'?s|available) context (length|size)|context_length_exceeded|exceed_context_size|"
    r"maximum (allowed length|model length|input length)|max_new_tokens.{1,3}must be|"
    r"(prompt|input)\b.{0,40} (is|are) (too long|longer than)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Retry:
    """No answer to this attempt.

    ``after`` is the server's own wish in seconds (Retry-After). ``stated``: the
    server works, and its word about this request will hardly change.
    """

    reason: str
    after: float | None = None
    stated: bool = False


@dataclass(frozen=True)
class Rejected:
    """No answer, and asking again cannot help; ``everywhere``: nor can any other request."""

    reason: str
    everywhere: bool = False
    cause: Literal["endpoint", "input"] = "endpoint"


Outcome = Answer | Retry | Rejected


async def ask_once(
    session: aiohttp.ClientSession,
    url: str,
    body: bytes,
    redactor: Redactor,
    *,
    timeout: float,
    stream: bool = False,
    wanted: ResponseKind | None = None,
) -> Outcome:
    """POST one request and judge the response; never raises for what a server or network does.

    Parameters
    ----------
    timeout
        Seconds until the answer must be whole.
    stream
        The body asks for a stream, whose times are measured.
    """
    begun = time.monotonic()
    limit = aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, 10.0))
    headers = {"Content-Type": "application/json"}
    try:
        async with session.post(url, data=body, headers=headers, allow_redirects=False, timeout=limit) as response:
            streamed = None
            if stream and response.status == 200 and response.content_type == "text/event-stream":
                streamed = await _read_stream(response, begun)
                content = streamed.whole() if streamed is not None else None
            else:
                content = await _read_limited(response)
            if content is None:
                return Rejected(f"the response is larger than {MAX_BODY_BYTES >> 20} MiB")
            if response.status != 200:
                return _judge_status(response, content, redactor)
            outcome = parse_answer(content, redactor) if wanted is None else _parse_wanted(content, redactor, wanted)
            return _timed(outcome, time.monotonic() - begun, streamed)
    except TimeoutError:
        return Retry("no answer within the request's time-out")
    except (aiohttp.ClientError, OSError) as error:
        return Retry(redactor.text(describe(error)))
    except (ValueError, TypeError, AttributeError) as error:
        return Retry(redactor.text(f"the stream is none of completions: {error}"))


def _timed(outcome: Outcome, seconds: float, streamed: Stream | None) -> Outcome:
    if not isinstance(outcome, Answer):
        return outcome
    timed = replace(outcome, seconds=round(seconds, 4))
    # The server's own measurement contains neither the network nor the wait for a free connection.
    if streamed is None or timed.first_token is not None:
        return timed
    first, between = streamed.times(timed.tokens)
    return replace(timed, first_token=first, between_tokens=between)


async def _read_stream(response: aiohttp.ClientResponse, begun: float) -> Stream | None:
    stream, size = Stream(begun), 0
    # As it comes, not line by line, which would cost a turn of the event loop for each token; and to its end, since
    # only then the connection serves the next request.
    async for content in response.content.iter_any():
        size += len(content)
        if size > MAX_BODY_BYTES * STREAM_OVERHEAD:
            return None
        stream.feed(content)
    return stream


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
    if response.status >= 400 and TOO_LONG.search(content[:MAX_MESSAGE_BYTES].decode("utf-8", "replace")):
        return _too_long(reason)
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

    Null or empty text is an answer (and counted as empty) if the server says
    that it finished. Without a known reason of the end (null or none at all
    included, since OpenAI's schema gives null to unfinished answers only), or
    with an error beside the text, the text may be a part: it is no answer.
    """
    try:
        body: Any = json.loads(content)
        choice = None if body.get("error") else _first(body["choices"])
        error = body.get("error") if choice is None else choice.get("error")
        if choice is None or error:
            return _judge_error(error, redactor)
        message = choice.get("message")
        text = choice["text"] if message is None else _text(message)
        thought = None if message is None else message.get("reasoning") or message.get("reasoning_content")
        finish_reason, served = choice.get("finish_reason"), body.get("model")
        usage = body.get("usage") or {}
        details = usage.get("completion_tokens_details") or {}
        metrics = body.get("metrics") or {}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return Retry(f"the response is not a completion: {excerpt(content, redactor)}")
    if text is not None and not isinstance(text, str):
        return Retry(f"the response's text is no text: {excerpt(content, redactor)}")
    return _if_finished(
        Answer(
            text=None if text is None else redactor.text(text),
            finish_reason=redactor.text(finish_reason) if isinstance(finish_reason, str) else None,
            served=redactor.text(served) if isinstance(served, str) else None,
            thought=Kept(redactor.text(thought)) if isinstance(thought, str) and thought else None,
            tokens=_count(usage.get("completion_tokens")),
            thought_tokens=_count(details.get("reasoning_tokens")),
            # vLLM's, with --enable-per-request-metrics.
            first_token=_seconds(metrics.get("time_to_first_token_ms")),
            between_tokens=_seconds(metrics.get("mean_itl_ms")),
        )
    )


def _parse_wanted(content: bytes, redactor: Redactor, wanted: ResponseKind) -> Outcome:
    """Read a response that holds something other than a text."""
    try:
        body: Any = json.loads(content)
        if body.get("error"):
            return _judge_error(body["error"], redactor)
        outcome = wanted.read(body)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return Retry(f"the response does not hold what was asked for: {excerpt(content, redactor)}", stated=True)
    return Retry(redactor.text(outcome), stated=True) if isinstance(outcome, str) else outcome


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _seconds(milliseconds: object) -> float | None:
    if not isinstance(milliseconds, int | float) or isinstance(milliseconds, bool):
        return None
    return milliseconds / 1000 if 0 <= milliseconds < math.inf else None


def _if_finished(answer: Answer) -> Outcome:
    if answer.finished:
        return answer
    said = "no finish_reason" if answer.finish_reason is None else f"finish_reason {shown(answer.finish_reason)}"
    if answer.refused:
        reason = f"the server refuses the answer ({said}); look at the item, or evaluate without the filter"
        return Retry(reason, stated=True)
    return Retry(f"the server does not say that it finished the answer ({said})")


def _first(choices: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return the choice with the lowest index: one answer is asked for, and some servers send more, in any order."""
    return min(choices, key=lambda choice: choice.get("index") or 0)


def _text(message: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return a chat message's text: that of its parts, or what it says in the place of an answer; thoughts are none."""
    content = message.get("content")
    if isinstance(content, list):
        parts = [part if isinstance(part, str) else part.get(TEXT_PARTS.get(part["type"], "")) for part in content]
        content = "".join(part for part in parts if part is not None) if any(parts) else None
    return message.get("refusal") if content is None else content


def _judge_error(error: Any, redactor: Redactor) -> Outcome:  # noqa: ANN401 - any JSON
    """Judge an error that came with HTTP 200: some gateways have sent the status before they know of it."""
    text = excerpt(json.dumps(error).encode(), redactor)
    if TOO_LONG.search(text):
        return _too_long(text)
    return Retry(f"the server reports an error with HTTP 200: {text}")


def _too_long(said: str) -> Rejected:
    return Rejected(
        f"the prompt and the token limit do not fit into the model's context: {said}; shorten the item or take fewer "
        "few-shot examples, lower the token limit, or serve the model with a longer context (--max-model-len)",
        cause="input",
    )
