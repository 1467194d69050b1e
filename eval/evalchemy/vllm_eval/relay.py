"""An OpenAI endpoint on loopback, through which an engine that brings its own client asks the model.

The engine sees neither the model's key nor its certificate; retries, the
bound on requests in flight, durable answers and counts are the runner's, as
for any other engine.
"""

import asyncio
import hmac
import json
import logging
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

from aiohttp import web

from vllm_eval.answers import Taken
from vllm_eval.errors import VllmEvalError
from vllm_eval.generation import LIMITS, read_generation
from vllm_eval.pool import RequestPool
from vllm_eval.requests import Answer, Failure, Request
from vllm_eval.tasks import Task
from vllm_eval.thoughts import Rule, spoken_of

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 64 << 20


class Relay:
    """Answers one task's chat requests.

    Parameters
    ----------
    open_pool
        Opens the pool inside the relay's own event loop.
    taken
        Recorded answers by request key.

    Attributes
    ----------
    token
        The bearer token that the engine must send: other processes of the
        machine must not ask the model at our expense.
    answers
        What was answered, in order of arrival; a Failure where nothing was.
    prompts
        The last message of each of them.
    error
        What ended everything (the endpoint died), or None.
    """

    def __init__(
        self,
        task: Task,
        *,
        model: str,
        concurrency: int,
        open_pool: Callable[[], AbstractAsyncContextManager[RequestPool]],
        taken: Mapping[str, Taken],
    ) -> None:
        self._task = task
        self._model = model
        self._open_pool = open_pool
        self._taken = taken
        self._slots = asyncio.Semaphore(concurrency)
        self._repeats: Counter[str] = Counter()
        self._pool: RequestPool | None = None
        self.token = secrets.token_urlsafe(16)
        self.url = ""
        self.answers: list[Answer | Failure] = []
        self.prompts: list[str] = []
        self.taken_over = 0
        self.error: VllmEvalError | None = None

    @contextmanager
    def running(self) -> Iterator["Relay"]:
        """Serve on a free loopback port while the context is open; ``url`` is the base URL with ``/v1``."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="relay", daemon=True)
        thread.start()
        stop = asyncio.Event()
        ready: asyncio.Future[str] = loop.create_future()
        served = asyncio.run_coroutine_threadsafe(self._serve(ready, stop), loop)
        try:
            self.url = asyncio.run_coroutine_threadsafe(_result(ready), loop).result(timeout=30)
            yield self
        finally:
            loop.call_soon_threadsafe(stop.set)
            served.result(timeout=30)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout=30)
            loop.close()

    async def _serve(self, ready: "asyncio.Future[str]", stop: asyncio.Event) -> None:
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        app.router.add_post("/v1/chat/completions", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            async with self._open_pool() as self._pool:
                await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
                ready.set_result(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
                await stop.wait()
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        if not hmac.compare_digest(request.headers.get("Authorization", ""), f"Bearer {self.token}"):
            return _problem(401, "the relay serves its own run only")
        try:
            payload = json.loads(await request.read())
            payload["messages"][0]["content"]
        except (ValueError, LookupError, TypeError, RecursionError):
            return _problem(400, "not a chat request")
        if self.error is not None:
            return _problem(503, str(self.error))
        answer = await self._answer(self._as_the_model_is_asked(payload))
        if isinstance(answer, Failure):
            return _problem(502, answer.reason)
        # Each answer alone, since its client waits: a tag in the middle of the text is taken for a thought's end.
        said = spoken_of([answer], Rule(asking=self._task.asking))[0]
        message = {"role": "assistant", "content": said.text}
        choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
        return web.json_response({"object": "chat.completion", "model": self._model, "choices": [choice]})

    def _as_the_model_is_asked(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Lay the model's own block over the benchmark's settings; the task's ``max_tokens`` lies over both."""
        layer = self._task.asking.layer(self._task.api)
        said, _ = read_generation(layer)
        changed: dict[str, Any] = dict(said.others)
        if said.max_tokens is not None and self._task.settings.max_tokens is None:
            payload = {key: value for key, value in payload.items() if key not in LIMITS}
            changed["max_tokens"] = said.max_tokens
        if "temperature" in layer or "do_sample" in layer:
            changed["temperature"] = said.temperature
        return {**payload, **changed, "model": self._model}

    async def _answer(self, payload: dict[str, Any]) -> Answer | Failure:
        text = json.dumps(payload, sort_keys=True)
        request = Request(self._task.name, self._task.hash, len(self.answers), self._repeats[text], payload)
        self._repeats[text] += 1
        taken = self._taken.get(request.key)
        if taken is not None:
            self.taken_over += 1
            return self._note(payload, taken.answer)
        try:
            async with self._slots:
                if self._pool is None:
                    raise RuntimeError("the relay is not running")
                answer = await self._pool.ask(request)
        except VllmEvalError as error:
            self.error = self.error or error
            answer = Failure(str(error))
        return self._note(payload, answer)

    def _note(self, payload: Mapping[str, Any], answer: Answer | Failure) -> Answer | Failure:
        self.answers.append(answer)
        self.prompts.append(str(payload["messages"][-1].get("content")))
        return answer


async def _result(future: "asyncio.Future[str]") -> str:
    return await future


def _problem(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status)
