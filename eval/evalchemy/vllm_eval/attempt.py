"""One attempt at a run's open tasks: from the endpoint's first answer to verified results."""

import asyncio
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vllm_eval.answers import AnswerStore, scope_of
from vllm_eval.config import TaskSettings
from vllm_eval.endpoint import Access, Served, open_session, read_access, wait_until_served
from vllm_eval.engines import Engine, EngineJob, TaskOutcome, create_engine
from vllm_eval.errors import (
    DeadlineError,
    EndpointError,
    EngineError,
    TaskError,
    UserError,
    VerificationError,
    VllmEvalError,
)
from vllm_eval.models import Model
from vllm_eval.pool import PoolSettings, PoolStats, RequestPool
from vllm_eval.progress import Progress
from vllm_eval.publish import ended_runs
from vllm_eval.requests import Answer, Failure, Request
from vllm_eval.results import Cause, ResultStore, RunResult, Sample, Score, TaskResult
from vllm_eval.secrets import Redactor
from vllm_eval.settings import RunSettings
from vllm_eval.tasks import Task
from vllm_eval.verify import verify

log = logging.getLogger(__name__)


@dataclass
class AttemptResult:
    """What an attempt adds to its run."""

    tasks: dict[str, TaskResult] = field(default_factory=dict)
    samples: dict[str, Sequence[Sample]] = field(default_factory=dict)
    asked: int = 0
    taken_over: int = 0
    retries: int = 0
    requests_per_second: float | None = None
    served: tuple[str, ...] = ()


class Attempt:
    """Evaluates tasks of one model; answers are durable from the moment they arrive."""

    def __init__(
        self,
        settings: RunSettings,
        model: Model,
        store: ResultStore,
        redactor: Redactor,
        *,
        deadline: float,
        fallback_key: str | None,
    ) -> None:
        self._settings = settings
        self._model = model
        self._store = store
        self._redactor = redactor
        self._deadline = deadline
        self._fallback_key = fallback_key
        self._access = Access(None, None)
        self._answers: AnswerStore | None = None
        self._stats = PoolStats()
        self._taken_over = 0

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
        engines = _engines(tasks)
        served = self._preflight(list(engines))
        self._answers = self._open_answers(run, served)
        outcomes: dict[str, TaskOutcome] = {}
        try:
            for engine, its_tasks in engines.items():
                log.info("%s: %s", engine.version, ", ".join(task.name for task in its_tasks))
                outcomes.update(engine.run(self._job(its_tasks)))
        finally:
            self._answers.flush()
        swapped = self._swapped(served)
        return self._result(engines, outcomes, swapped)

    def failed(
        self, enabled: Mapping[str, TaskSettings], tasks: Sequence[Task], run: RunResult, error: VllmEvalError
    ) -> AttemptResult:
        """Build the result of an attempt that ``error`` ended: every open task failed for it."""
        known = {task.name: task for task in tasks}
        cause: Cause = "endpoint"
        if isinstance(error, UserError):
            cause = "input"
        elif isinstance(error, DeadlineError):
            cause = "deadline"
        elif isinstance(error, VerificationError):
            cause = "verification"
        result = self._counts()
        for name, settings in enabled.items():
            task = known.get(name)
            if name in run.tasks and task is not None and run.tasks[name].task_hash == task.hash:
                continue
            result.tasks[name] = TaskResult(
                task=name,
                task_hash=task.hash if task else "",
                engine=settings.engine,
                engine_version="",
                good=False,
                cause=cause,
                problems=(self._redactor.text(str(error)),),
                metric=settings.metric,
                filter=settings.filter,
                expected=task.expected if task else None,
                ended=time.time(),
            )
        return result

    def close(self, run: RunResult) -> None:
        """Forget the answers of tasks that are done; those of the others wait for the next attempt."""
        if self._answers is not None:
            self._answers.close(task.task_hash for task in run.tasks.values() if not task.final)

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
            served = asyncio.run(self._await_endpoint())
        finally:
            thread.join()
        if failures:
            raise EngineError(f"an engine cannot be imported: {failures[0]}") from failures[0]
        return served

    async def _await_endpoint(self) -> Served:
        async with open_session(self._model, self._access, timeout=self._settings.request_timeout) as session:
            return await wait_until_served(
                session,
                self._model,
                wait=self._settings.endpoint_wait,
                deadline=self._deadline,
                redactor=self._redactor,
            )

    def _open_answers(self, run: RunResult, served: Served) -> AnswerStore:
        closed: dict[str, float] = {}
        for earlier in ended_runs(self._store.runs(run.stack, run.model["name"])):
            for task in earlier.tasks.values():
                if task.final and earlier.model == run.model:
                    closed[task.task_hash] = max(task.ended, closed.get(task.task_hash, 0.0))
        scope = scope_of(run.stack, run.model, served.root)
        return AnswerStore(self._store.storage, scope, max_age=self._settings.answer_max_age, closed=closed)

    def _job(self, tasks: Sequence[Task]) -> EngineJob:
        return EngineJob(
            model=self._model, access=self._access, tasks=tasks, ask=self._ask, seed=self._settings.seed,
            deadline=self._deadline, request_timeout=self._settings.request_timeout,
        )  # fmt: skip

    def _ask(self, requests: Sequence[Request]) -> dict[str, Answer | Failure]:
        """Answer from the recorded answers, and the rest from the endpoint."""
        assert self._answers is not None  # noqa: S101 - for the type checker; evaluate() opens it
        taken = self._answers.taken
        answers: dict[str, Answer | Failure] = {
            request.key: taken[request.key].answer for request in requests if request.key in taken
        }
        self._stats.served |= {a.served for a in answers.values() if isinstance(a, Answer) and a.served}
        self._taken_over += len(answers)
        missing = [request for request in requests if request.key not in answers]
        if missing or answers:
            log.info("%d requests, %d at a time", len(missing), self._model.concurrency)
        progress = Progress(len(missing), len(answers))
        try:
            answers.update(asyncio.run(self._pool(missing, progress)) if missing else {})
        finally:
            progress.close()
        return answers

    async def _pool(self, requests: Sequence[Request], progress: Progress) -> dict[str, Answer | Failure]:
        assert self._answers is not None  # noqa: S101 - for the type checker; evaluate() opens it
        path = "chat/completions" if self._model.api == "chat" else "completions"
        settings = PoolSettings(
            url=f"{self._model.endpoint}/{path}", concurrency=self._model.concurrency,
            patience=self._settings.endpoint_wait, deadline=self._deadline,
        )  # fmt: skip
        async with open_session(self._model, self._access, timeout=self._settings.request_timeout) as session:
            pool = RequestPool(
                session, settings, self._redactor, on_answer=self._answers.record, on_progress=progress.update,
                stats=self._stats,
            )  # fmt: skip
            return await pool.answer_all(requests)

    def _swapped(self, served: Served) -> str | None:
        """Say how the model behind the endpoint changed during the run, None if it did not."""
        try:
            now = asyncio.run(self._ask_again())
        except (EndpointError, UserError) as error:
            return f"the endpoint does not serve the model at the end of the run: {error}"
        if not now.same_model(served):
            return f"the served model changed during the run: {served.root or served.id} -> {now.root or now.id}"
        others = self._stats.served & served.others
        if others:
            return f"answers came from {', '.join(sorted(others))}, not from {served.id}"
        if len(self._stats.served) > 1:
            return f"answers came from more than one model: {', '.join(sorted(self._stats.served))}"
        return None

    async def _ask_again(self) -> Served:
        async with open_session(self._model, self._access, timeout=self._settings.request_timeout) as session:
            wait = min(self._settings.endpoint_wait, 30.0)
            return await wait_until_served(
                session, self._model, wait=wait, deadline=self._deadline, redactor=self._redactor
            )

    def _counts(self) -> AttemptResult:
        return AttemptResult(
            asked=self._stats.asked, taken_over=self._taken_over, retries=self._stats.retries,
            requests_per_second=self._stats.rate, served=tuple(sorted(self._stats.served)),
        )  # fmt: skip

    def _result(
        self, engines: Mapping[Engine, Sequence[Task]], outcomes: Mapping[str, TaskOutcome], swapped: str | None
    ) -> AttemptResult:
        result = self._counts()
        for engine, tasks in engines.items():
            for task in tasks:
                outcome = outcomes.get(task.name, TaskOutcome(problems=["the engine said nothing about the task"]))
                found = verify(task, outcome) + ([swapped] if swapped else [])
                result.tasks[task.name] = self._task_result(engine, task, outcome, found)
                if outcome.samples is not None:
                    result.samples[task.name] = outcome.samples
        return result

    def _task_result(self, engine: Engine, task: Task, outcome: TaskOutcome, found: Sequence[str]) -> TaskResult:
        good = not found
        primary = outcome.primary
        for problem in found:
            log.error("%s: %s", task.name, problem)
        expected = task.expected if task.expected is not None else outcome.expected
        return TaskResult(
            task=task.name,
            task_hash=task.hash,
            engine=engine.name,
            engine_version=engine.version,
            good=good,
            cause=None if good else outcome.cause or "verification",
            problems=tuple(self._redactor.text(problem) for problem in found),
            metric=primary[0] if primary else task.settings.metric,
            filter=primary[1] if primary else task.settings.filter,
            score=outcome.metrics[primary] if good and primary else None,
            stderr=outcome.stderrs.get(primary) if good and primary else None,
            samples=outcome.answered,
            expected=expected,
            empty=outcome.empty,
            truncated=outcome.truncated,
            scores=tuple(
                Score(metric=metric, filter=name, value=value)
                for (metric, name), value in outcome.metrics.items()
                if good and (metric, name) != primary
            ),
            paired=good and outcome.samples is not None,
            ended=time.time(),
        )


def _engines(tasks: Sequence[Task]) -> dict[Engine, list[Task]]:
    """Group tasks by engine and refuse what cannot run, before the first request."""
    engines: dict[str, Engine] = {}
    groups: dict[Engine, list[Task]] = {}
    found: list[str] = []
    for task in tasks:
        name = task.settings.engine
        engine = engines.get(name) or create_engine(name)
        if engine is None:
            found.append(f"{task.name}: unknown engine {name!r}")
            continue
        engines[name] = engine
        groups.setdefault(engine, []).append(task)
    for engine, its_tasks in groups.items():
        found += engine.check(its_tasks)
    if found:
        raise TaskError.of("eval_config.json", found)
    return groups
