"""An OpenAI-compatible server whose right answers are known: for tests, benchmarks and the sandbox.

One file that needs aiohttp and nothing else. ``accuracy`` decides by a hash of
the item which items are answered right, so the score of a given item set is
exact and repeatable, and a lower accuracy loses items but never gains others.
``faults`` break answers on purpose. Both can be changed while it runs::

    python openai_server.py --port 8000 --model demo --data custom_task_1.jsonl --accuracy 0.8
    curl -X PUT localhost:8000/admin -d '{"accuracy": 0.6}'
"""

import argparse
import asyncio
import hashlib
import json
import logging
import math
import random
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from aiohttp import web

FAULT_KINDS = (
    "status", "hang", "drip", "truncated_body", "wrong_json", "wrong_shape", "null", "empty", "length", "wrong_model",
    "redirect", "huge", "invalid_utf8", "reset", "abort", "partial_then_reset",
)  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """One way of breaking answers.

    ``kind`` is one of FAULT_KINDS. It applies to a ``rate`` of the requests
    (by a hash of body and attempt, so a retry may heal; ``sticky``: by the
    body alone, so it never does), to requests numbered ``first`` or later
    (from 0) and at most ``times`` times (None: no end). ``status`` and
    ``headers`` belong to kind ``status``.
    """

    kind: str
    rate: float = 1.0
    sticky: bool = False
    first: int = 0
    times: int | None = None
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = '{"error": {"message": "fault"}}'

    def __post_init__(self) -> None:
        if self.kind not in FAULT_KINDS:
            raise ValueError(f"unknown fault kind {self.kind!r}; known: {', '.join(FAULT_KINDS)}")


@dataclass(frozen=True)
class Plan:
    """Everything that can be changed while the server runs.

    ``latency`` is the median in seconds of a log-normal distribution with
    ``sigma``, cut at ``max_latency``; ``per_token`` seconds are added for each
    allowed token. ``models`` are the ids that /v1/models lists, ``root`` the
    weights that it names; ``padding`` characters follow each answer on a line of
    their own; ``api_key`` is demanded when set; ``models_status``
    is the status of /v1/models; ``down`` closes every connection unanswered.
    """

    accuracy: float = 1.0
    latency: float = 0.0
    sigma: float = 0.0
    max_latency: float = 60.0
    per_token: float = 0.0
    padding: int = 0
    models: tuple[str, ...] = ("fake-model",)
    root: str = "fake-root"
    swap_root_after: int | None = None
    api_key: str | None = None
    models_status: int = 200
    down: bool = False
    faults: tuple[Fault, ...] = ()

    def changed(self, update: Mapping[str, Any]) -> "Plan":
        """Return the plan with some values replaced; a wrong name is an error."""
        known = {item.name for item in fields(self)}
        unknown = set(update) - known
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
        values = dict(update)
        if "faults" in values:
            values["faults"] = tuple(Fault(**fault) for fault in values["faults"])
        if "models" in values:
            values["models"] = tuple(values["models"])
        return replace(self, **values)


class OpenAIServer:
    """The server's state and handlers.

    Parameters
    ----------
    answers
        Question text to right answer. A prompt is matched by the longest
        question that it contains.
    """

    def __init__(self, answers: Mapping[str, str], plan: Plan | None = None) -> None:
        self.plan = plan or Plan()
        self.requests: list[dict[str, Any]] = []
        self.headers_seen: list[Mapping[str, str]] = []
        self.times: list[tuple[float, float]] = []
        self.concurrent = 0
        self.most_concurrent = 0
        self.answered = 0
        # Bodies that are answered 400 (with the text, if it gives one), and 500, whatever the plan.
        self.reject: Callable[[Mapping[str, Any]], bool | str] | None = None
        self.fail: Callable[[Mapping[str, Any]], bool] | None = None
        # Makes of a body and its right answer the response: its bytes, or values laid over the usual document.
        self.reply: Callable[[Mapping[str, Any], str | None], bytes | Mapping[str, Any] | None] | None = None
        # Makes of the same the events of a stream, where the body asks for one.
        self.stream: Callable[[Mapping[str, Any], str | None], Sequence[Mapping[str, Any]]] | None = None
        # What /v1/models lists, where `plan.models` and `plan.root` are not enough.
        self.entries: Sequence[Mapping[str, Any]] | None = None
        self.set_answers(answers)
        self._attempts: Counter[str] = Counter()
        self._fault_uses: Counter[int] = Counter()

    def application(self) -> web.Application:
        """Create the aiohttp application."""
        # A connection that is closed on purpose is no error worth a traceback.
        logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
        app = web.Application(client_max_size=64 << 20)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/completions", self._completions)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_put("/admin", self._admin)
        app.router.add_get("/admin", self._state)
        app.router.add_delete("/admin", self._forget)
        app.router.add_get("/admin/requests", self._asked)
        app.router.add_get("/health", self._health)
        return app

    def set_answers(self, answers: Mapping[str, str]) -> None:
        """Replace what is known."""
        self._exact = dict(answers)
        self._longest_first = sorted(answers, key=len, reverse=True)
        self._questions: dict[str, str | None] = {}

    def question_in(self, prompt: str) -> str | None:
        """Return the longest known question that ends or stands in ``prompt``, None when there is none."""
        if prompt not in self._questions:
            found = prompt if prompt in self._exact else None
            if found is None:
                found = next((question for question in self._longest_first if question in prompt), None)
            self._questions[prompt] = found
        return self._questions[prompt]

    def answer_to(self, prompt: str) -> str:
        """Return the right answer, or a wrong one for the items that the present accuracy loses."""
        question = self.question_in(prompt)
        if question is None:
            return "I do not know this question"
        right = self._exact[question]
        if share(question) < self.plan.accuracy:
            return right
        return str(int(right) + 1) if right.lstrip("-").isdecimal() else "unknown"

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _admin(self, request: web.Request) -> web.Response:
        try:
            self.plan = self.plan.changed(await request.json())
        except (ValueError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"accuracy": self.plan.accuracy})

    async def _state(self, request: web.Request) -> web.Response:
        first = min((start for start, _ in self.times), default=None)
        last = max((end for _, end in self.times), default=None)
        return web.json_response(
            {
                "requests": len(self.requests),
                "answered": self.answered,
                "most_concurrent": self.most_concurrent,
                # Monotonic seconds, the same clock for all processes of a machine.
                "first_start": first,
                "last_end": last,
                # Of all requests together.
                "busy_seconds": sum(end - start for start, end in self.times),
            }
        )

    async def _forget(self, request: web.Request) -> web.Response:
        for kept in (self.requests, self.headers_seen, self.times, self._attempts, self._fault_uses):
            kept.clear()
        self.most_concurrent = self.answered = 0
        return web.json_response({})

    async def _asked(self, request: web.Request) -> web.Response:
        return web.json_response(self.requests)

    def _refused(self, request: web.Request) -> web.Response | None:
        if self.plan.down:
            abort(request)
        if self.plan.api_key is not None and request.headers.get("Authorization") != f"Bearer {self.plan.api_key}":
            # As careless servers do, the key is echoed: it must not get any further.
            given = request.headers.get("Authorization", "")
            return web.json_response({"error": {"message": f"bad key: {given}"}}, status=401)
        return None

    async def _models(self, request: web.Request) -> web.StreamResponse:
        refused = self._refused(request)
        if refused is not None:
            return refused
        if self.plan.models_status != 200:
            return web.Response(status=self.plan.models_status, text="not ready", headers={"Location": "/elsewhere"})
        swapped = self.plan.swap_root_after is not None and self.answered >= self.plan.swap_root_after
        root = "other-root" if swapped else self.plan.root
        data = [
            {"id": name, "object": "model", "created": int(time.time()), "root": root, "max_model_len": 4096}
            for name in self.plan.models
        ]
        data = [dict(entry) for entry in self.entries] if self.entries is not None else data
        return web.json_response({"object": "list", "data": data})

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        return await self._answer(request, body, str(body.get("prompt")), chat=False)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        return await self._answer(request, body, str(body["messages"][-1]["content"]), chat=True)

    async def _answer(
        self, request: web.Request, body: dict[str, Any], prompt: str, *, chat: bool
    ) -> web.StreamResponse:
        refused = self._refused(request)
        if refused is not None:
            return refused
        if body.get("model") not in self.plan.models:
            return web.json_response({"error": {"message": f"no model {body.get('model')!r}"}}, status=404)
        start = time.monotonic()
        if self.fail is not None and self.fail(body):
            return web.json_response({"error": {"message": "failed"}}, status=500)
        rejected = self.reject(body) if self.reject is not None else False
        if rejected:
            message = rejected if isinstance(rejected, str) else "rejected"
            return web.json_response({"error": {"message": message}}, status=400)
        number = len(self.requests)
        self.requests.append(body)
        self.headers_seen.append(dict(request.headers))
        self.concurrent += 1
        self.most_concurrent = max(self.most_concurrent, self.concurrent)
        try:
            await asyncio.sleep(self._latency(body))
            fault = self._fault(body, number)
            response = await self._respond(request, body, prompt, fault, chat=chat)
        finally:
            self.concurrent -= 1
            self.times.append((start, time.monotonic()))
        return response

    def _latency(self, body: Mapping[str, Any]) -> float:
        plan = self.plan
        seconds = plan.per_token * float(body.get("max_tokens", 0))
        if plan.latency:
            # By the body, so that two clients meet the same latencies.
            source = random.Random(digest(json.dumps(body, sort_keys=True)))  # noqa: S311 - no secret
            seconds += min(plan.latency * math.exp(plan.sigma * source.gauss(0, 1)), plan.max_latency)
        return seconds

    def _fault(self, body: Mapping[str, Any], number: int) -> Fault | None:
        text = json.dumps(body, sort_keys=True)
        attempt = self._attempts[text]
        self._attempts[text] += 1
        for index, fault in enumerate(self.plan.faults):
            if number < fault.first or (fault.times is not None and self._fault_uses[index] >= fault.times):
                continue
            if share(f"{index}/{text}" if fault.sticky else f"{index}/{attempt}/{text}") < fault.rate:
                self._fault_uses[index] += 1
                return fault
        return None

    async def _respond(
        self, request: web.Request, body: Mapping[str, Any], prompt: str, fault: Fault | None, *, chat: bool
    ) -> web.StreamResponse:
        kind = fault.kind if fault is not None else None
        if fault is not None and kind == "status":
            return web.Response(status=fault.status, text=fault.body, headers=dict(fault.headers))
        if kind == "redirect":
            return web.Response(status=307, headers={"Location": "/v1/elsewhere"})
        if kind == "hang":
            await asyncio.sleep(3600)
        if kind == "reset":
            abort(request)
        text: str | None = self.answer_to(prompt)
        if self.plan.padding:
            text = f"{text}\n{'x' * self.plan.padding}"
        text = {"null": None, "empty": ""}.get(kind or "", text)
        finish = {"length": "length", "abort": "abort"}.get(kind or "", "stop")
        if body.get("stream"):
            events = self.stream(body, text) if self.stream is not None else _events(text, finish, chat=chat)
            return await self._stream(request, events)
        content = self._body(body, text, finish, kind, chat=chat)
        if kind in {"drip", "truncated_body", "partial_then_reset"}:
            return await self._broken_stream(request, content, kind)
        self.answered += 1
        return web.Response(body=content, content_type="application/json")

    def _body(self, body: Mapping[str, Any], text: str | None, finish: str, kind: str | None, *, chat: bool) -> bytes:
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish, "logprobs": None}
        choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        model = "another-model" if kind == "wrong_model" else body["model"]
        document = {"id": "cmpl-1", "object": "text_completion", "model": model, "choices": [choice]}
        if kind == "wrong_shape":
            document = {"id": "cmpl-1", "result": text}
        reply = self.reply(body, text) if self.reply is not None else None
        if isinstance(reply, bytes):
            return reply
        content = json.dumps({**document, **(reply or {})}).encode()
        if kind == "wrong_json":
            return b"<html>busy</html>"
        if kind == "invalid_utf8":
            return content.replace(b'"text": "', b'"text": "\xff\xfe').replace(b'"content": "', b'"content": "\xff\xfe')
        if kind == "huge":
            return content + b" " * (40 << 20)
        return content

    async def _stream(self, request: web.Request, events: Sequence[Mapping[str, Any]]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            await response.write(b"data: " + json.dumps({"model": self.plan.models[0], **event}).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        self.answered += 1
        return response

    async def _broken_stream(self, request: web.Request, content: bytes, kind: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(content)), "Content-Type": "application/json"})
        await response.prepare(request)
        if kind == "drip":
            for byte in content:
                await response.write(bytes([byte]))
                await asyncio.sleep(0.5)
            return response
        await response.write(content[: len(content) // 2])
        abort(request)
        return response


def _events(text: str | None, finish: str, *, chat: bool) -> list[dict[str, Any]]:
    """Return an answer's events, one for each character, as for each token."""
    said = [{"delta": {"content": part}} if chat else {"text": part} for part in text or ""]
    choices: list[dict[str, Any]] = [*said, {**({"delta": {}} if chat else {"text": ""}), "finish_reason": finish}]
    usage = {"choices": [], "usage": {"completion_tokens": len(said)}}
    return [*({"choices": [{"index": 0, **choice}]} for choice in choices), usage]


def abort(request: web.Request) -> None:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("closed on purpose")


def digest(text: str) -> int:
    """Return a number that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def share(text: str) -> float:
    """Return a number in 0..1 that depends on the text alone."""
    return digest(text) / 2**64


def load_answers(paths: Sequence[Path], question: str = "question", answer: str = "answer") -> dict[str, str]:
    """Read question and answer of every line of some JSONL files."""
    lines = (line for path in paths for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return {str(item[question]): str(item[answer]) for item in map(json.loads, lines)}


@contextmanager
def running(server: OpenAIServer, ssl_context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run the server in a thread on a free loopback port; gives the base URL with ``/v1``."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=0.05)

    async def start() -> str:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_context, backlog=1024).start()
        return f"{'https' if ssl_context else 'http'}://127.0.0.1:{runner.addresses[0][1]}/v1"

    async def stop() -> None:
        await runner.cleanup()
        # Answers that hang on purpose hang for an hour.
        hanging = asyncio.all_tasks() - {asyncio.current_task()}
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)

    thread = threading.Thread(target=loop.run_forever, name="openai-server", daemon=True)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(start(), loop).result(timeout=10)
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


async def serve(server: OpenAIServer, host: str, port: int) -> None:
    """Serve until cancelled; prints the address when ready."""
    runner = web.AppRunner(server.application(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    address = runner.addresses[0]
    sys.stdout.write(f"listening on {address[0]}:{address[1]}\n")
    sys.stdout.flush()
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main() -> None:
    """Run the server from the command line."""
    parser = argparse.ArgumentParser(description="OpenAI-compatible server with known answers")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--model", action="append", default=None, help="served model id; may be repeated")
    parser.add_argument("--data", action="append", type=Path, default=[], help="JSONL with questions and answers")
    parser.add_argument("--question-field", default="question")
    parser.add_argument("--answer-field", default="answer")
    parser.add_argument("--accuracy", type=float, default=1.0)
    parser.add_argument("--latency", type=float, default=0.0, help="median, seconds")
    parser.add_argument("--sigma", type=float, default=0.0, help="of the log-normal distribution")
    parser.add_argument("--padding", type=int, default=0, help="characters after each answer")
    options = parser.parse_args()
    plan = Plan(
        accuracy=options.accuracy, latency=options.latency, sigma=options.sigma,
        models=tuple(options.model or ["fake-model"]), padding=options.padding,
    )  # fmt: skip
    server = OpenAIServer(load_answers(options.data, options.question_field, options.answer_field), plan)
    asyncio.run(serve(server, options.host, options.port))


if __name__ == "__main__":
    main()
