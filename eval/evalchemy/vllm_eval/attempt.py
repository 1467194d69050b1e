"""One attempt at a run's open tasks: from the endpoint's first answer to verified results."""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from vllm_eval.answers import AnswerStore, scope_of
from vllm_eval.endpoint import MAX_LIST_BYTES, Access, Served, open_session, read_access, wait_until_served
from vllm_eval.engines import Engine, EngineJob, TaskOutcome, create_engine
from vllm_eval.errors import EndpointError, EngineError, TaskError, UserError, gathered, some
from vllm_eval.judge import judge
from vllm_eval.models import Model
from vllm_eval.pool import LEAST_TIMEOUT_SECONDS, PoolSettings, PoolStats, RequestPool, address
from vllm_eval.progress import Progress
from vllm_eval.records import RunResult, Sample, TaskResult
from vllm_eval.relay import Relay
from vllm_eval.requests import Answer, Failure, Request
from vllm_eval.secrets import Redactor
from vllm_eval.settings import RunSettings
from vllm_eval.spool import Kept
from vllm_eval.storage import Storage
from vllm_eval.tasks import Task

log = logging.getLogger(__name__)

# How long the last look at the served model, at the end of a run, waits for an endpoint that
# does not answer: only a short time, since all answers are there.
LAST_LOOK_SECONDS = 30.0
# Requests for the log-probabilities of whole prompts, in flight at a time.
HEAVY_AT_A_TIME = 4


@dataclass
class AttemptResult:
    """What an attempt adds to its run."""

    tasks: dict[str, TaskResult] = field(default_factory=dict)
    samples: dict[str, Sequence[Sample]] = field(default_factory=dict)
    inner: dict[str, Mapping[tuple[int, int], Kept]] = field(default_factory=dict)


class Attempt:
    """Evaluates tasks of one model; answers are durable from the moment they arrive.

    Parameters
    ----------
    deadline
        End of the run in ``time.monotonic()`` seconds.
    fallback_key
        Key for a model that names none, or None.
    closed
        Task hash to the end (Unix seconds) of the last run that finished it:
        answers up to then are not taken over.
    """

    def __init__(
        self,
        settings: RunSettings,
        model: Model,
        storage: Storage,
        redactor: Redactor,
        *,
        deadline: float,
        fallback_key: str | None,
        closed: Mapping[str, float],
    ) -> None:
        self._settings = settings
        self._model = model
        self._storage = storage
        self._redactor = redactor
        self._deadline = deadline
        self._fallback_key = fallback_key
        self._closed = closed
        self._access = Access(None, None)
        self._answers: AnswerStore | None = None
        self._served: Served | None = None
        self.stats = PoolStats()
        self.taken_over = 0

    def evaluate(self, run: RunResult, tasks: Sequence[Task]) -> AttemptResult:
        """Evaluate ``tasks`` and verify each.

        Raises
        ------
        VllmEvalError
            Nothing can be said about any task; recorded answers are kept.
        """
        if not tasks:
            return AttemptResult()
        self._access = read_access(self._model, self._settings.secrets, self._redactor, self._fallback_key)
        engines = choose_engines(tasks, self._model)
        served = self._served = self._preflight([engine for engine, _ in engines])
        self._answers = AnswerStore(
            self._storage,
            scope_of(run.stack, run.model, served.root),
            max_age=self._settings.answer_max_age,
            closed=self._closed,
        )
        result = AttemptResult()
        outcomes: dict[str, TaskOutcome] = {}
        try:
            for engine, its_tasks in engines:
                log.info(
                    "%s: %d tasks: %s", engine.version, len(its_tasks), some([task.name for task in its_tasks], 10)
                )
                outcomes.update(engine.run(self._job(its_tasks)))
        finally:
            self._answers.flush()
        swapped = self._swapped(served)
        for engine, its_tasks in engines:
            for task in its_tasks:
                outcome = outcomes.get(task.name, TaskOutcome(problems=["the engine said nothing about the task"]))
                result.tasks[task.name] = self._redacted(judge(engine, task, outcome, swapped))
                if outcome.samples is not None:
                    result.samples[task.name] = outcome.samples
                    result.inner[task.name] = outcome.inner
        return result

    def close(self, run: RunResult) -> None:
        """Forget the answers of tasks that are done; those of the others wait for the next attempt."""
        if self._answers is not None:
            self._answers.close(task.task_hash for task in run.asked_tasks.values() if not task.final)

    def _redacted(self, result: TaskResult) -> TaskResult:
        return result.model_copy(update={"problems": tuple(self._redactor.text(text) for text in result.problems)})

    def _preflight(self, engines: Sequence[Engine]) -> Served:
        """Await the endpoint, and import what is slow at the same time."""
        failures: list[Exception] = []

        def warm_up() -> None:
            try:
                for engine in engines:
                    engine.warm_up()
            except Exception as error:  # noqa: BLE001 - handed to the main thread
                failures.append(error)

        thread = threading.Thread(target=warm_up, name="warm-up")
        thread.start()
        try:
            served = asyncio.run(self._look(self._settings.endpoint_wait))
        finally:
            thread.join()
        if failures:
            raise EngineError(f"an engine cannot be imported: {failures[0]}") from failures[0]
        return served

    @property
    def _look_timeout(self) -> float:
        return self._settings.request_timeout or LEAST_TIMEOUT_SECONDS

    async def _look(self, wait: float) -> Served:
        async with open_session(self._model, self._access, timeout=self._look_timeout) as session:
            return await wait_until_served(
                session, self._model, wait=wait, deadline=self._deadline, redactor=self._redactor
            )

    def _job(self, tasks: Sequence[Task]) -> EngineJob:
        return EngineJob(
            model=self._model,
            tasks=tasks,
            ask=self._ask,
            post=self._post,
            relay=self._relay,
            seed=self._settings.seed,
            deadline=self._deadline,
        )

    def _ask(self, requests: Sequence[Request]) -> dict[str, Answer | Failure]:
        """Answer from the recorded answers, and the rest from the endpoint."""
        answers: dict[str, Answer | Failure] = {}
        missing = []
        # Items with the same question are asked once and share the answer.
        for request in {request.key: request for request in requests}.values():
            taken = self._opened.taken.get(request.key)
            if taken is None:
                missing.append(request)
                continue
            answers[request.key] = taken.answer
            if taken.answer.served is not None:
                self.stats.served.add(taken.answer.served)
        self.taken_over += len(answers)
        taken_over = len(answers)
        missing, hopeless = self._without_hopeless(missing)
        heavy = [request for request in missing if request.wanted is not None and request.wanted.heavy]
        light = [request for request in missing if request.wanted is None or not request.wanted.heavy]
        if light or not heavy:
            answers.update(self._ask_endpoint(light, self._model.concurrency, taken_over))
        if heavy:
            at_a_time = min(self._model.concurrency, HEAVY_AT_A_TIME)
            answers.update(self._ask_endpoint(heavy, at_a_time, taken_over))
        answers.update(hopeless)
        return answers

    def _ask_endpoint(
        self, requests: Sequence[Request], at_a_time: int, taken_over: int
    ) -> dict[str, Answer | Failure]:
        # Progress does not count what is not recorded (tokens, control requests).
        recorded = all(request.wanted is None or request.wanted.recorded for request in requests)
        log.log(
            logging.INFO if recorded else logging.DEBUG, "%d requests, %d at a time%s", len(requests), at_a_time,
            f"; {taken_over} answers are taken over from an unfinished run" if taken_over else "",
        )  # fmt: skip
        if not requests:
            return {}
        progress = Progress(len(requests), self.stats)
        try:
            return asyncio.run(self._pool(requests, progress, at_a_time))
        finally:
            progress.close()

    def _without_hopeless(self, requests: Sequence[Request]) -> tuple[list[Request], dict[str, Failure]]:
        """Split off tasks whose token limit alone fills the model's context: no request of theirs would be answered."""
        context = self._served.max_model_len if self._served is not None else None
        limits = {request.task: int(request.payload.get("max_tokens") or 0) for request in requests}
        failures = {
            task: Failure(
                f"the token limit {limit} leaves no room for a prompt in the model's context of {context} tokens; "
                "lower the task's token limit, or serve the model with a longer context (--max-model-len)",
                cause="input",
            )
            for task, limit in limits.items()
            if context is not None and limit >= context
        }
        hopeless = {request.key: failures[request.task] for request in requests if request.task in failures}
        return [request for request in requests if request.key not in hopeless], hopeless

    @property
    def _opened(self) -> AnswerStore:
        if self._answers is None:
            raise RuntimeError("an engine asks before the answers are opened")
        return self._answers

    async def _pool(
        self, requests: Sequence[Request], progress: Progress, at_a_time: int
    ) -> dict[str, Answer | Failure]:
        async with self._open_pool(progress, at_a_time) as pool:
            return await pool.answer_all(requests)

    @contextmanager
    def _relay(self, task: Task) -> Iterator[Relay]:
        progress = Progress(0, self.stats)
        relay = Relay(
            task,
            model=self._model.asked_name,
            concurrency=self._model.concurrency,
            open_pool=lambda: self._open_pool(progress, self._model.concurrency),
            taken=self._opened.taken,
        )
        try:
            with relay.running():
                yield relay
        finally:
            self.taken_over += relay.taken_over
            progress.close()

    @asynccontextmanager
    async def _open_pool(self, progress: Progress, at_a_time: int) -> AsyncIterator[RequestPool]:
        path = "chat/completions" if self._model.api == "chat" else "completions"
        settings = PoolSettings(
            url=f"{self._model.endpoint}/{path}",
            endpoint=self._model.endpoint,
            concurrency=at_a_time,
            patience=self._settings.endpoint_wait,
            deadline=self._deadline,
            timeout=self._settings.request_timeout,
            stream=self._model.stream,
        )
        async with open_session(self._model, self._access, timeout=self._look_timeout) as session:
            yield RequestPool(
                session,
                settings,
                self._redactor,
                on_answer=self._record,
                on_progress=progress.update,
                stats=self.stats,
            )

    def _record(self, request: Request, answer: Answer) -> None:
        if request.wanted is None or request.wanted.recorded:
            self._opened.record(request, answer)

    def _post(self, path: str, payload: Mapping[str, Any]) -> tuple[int, Any]:
        """Ask once what a server can do: the status, 0 where nothing answers, and the JSON body, None if it is none."""

        async def post() -> tuple[int, Any]:
            async with (
                open_session(self._model, self._access, timeout=self._look_timeout) as session,
                session.post(address(self._model.endpoint, path), json=payload, allow_redirects=False) as response,
            ):
                content = await response.content.read(MAX_LIST_BYTES)
                try:
                    return response.status, json.loads(content)
                except ValueError:
                    return response.status, None

        try:
            return asyncio.run(post())
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0, None

    def _swapped(self, served: Served) -> str | None:
        """Say how the model behind the endpoint changed during the run, None if it did not."""
        try:
            now = asyncio.run(self._look(min(self._settings.endpoint_wait, LAST_LOOK_SECONDS)))
        except UserError as error:
            return f"at the end of the run the endpoint does not serve the model any more: {error}"
        except EndpointError as error:
            # The endpoint died after the last answer; the answers that it gave still count.
            log.warning("the endpoint cannot be asked what it serves now: %s", error)
            now = served
        if not now.same_model(served):
            return f"the served model changed during the run: {served.root or served.id} -> {now.root or now.id}"
        # A name that was served with these weights at the start and at the end belongs to this model.
        aliases = served.aliases & now.aliases
        others = self.stats.served & (served.others | now.others | (served.aliases ^ now.aliases))
        if others:
            return f"answers came from {', '.join(sorted(others))}, not from {served.id}"
        names = {served.id if name in aliases else name for name in self.stats.served}
        if len(names) > 1:
            return f"answers came from more than one model: {', '.join(sorted(names))}"
        return None


def choose_engines(tasks: Sequence[Task], model: Model) -> list[tuple[Engine, list[Task]]]:
    """Group tasks by engine, and refuse what cannot run before the first request.

    Raises
    ------
    TaskError
        With all tasks that have no engine here, or that their engine refuses.
    """
    engines: dict[str, Engine] = {}
    groups: dict[str, list[Task]] = {}
    found: list[str] = []
    for task in tasks:
        name = task.settings.engine
        engine = engines.get(name) or create_engine(name)
        if engine is None:
            found.append(f"{task.name}: unknown engine {name!r}")
            continue
        engines[name] = engine
        groups.setdefault(name, []).append(task)
    for name, its_tasks in groups.items():
        found += engines[name].check(its_tasks, model)
    if found:
        raise TaskError.of("eval_config.json", gathered(found))
    return [(engines[name], its_tasks) for name, its_tasks in groups.items()]
