"""One run of one model: preflight, ask, verify, compare, store, publish."""

import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from vllm_eval.attempt import Attempt, AttemptResult
from vllm_eval.baseline import compare_with_baseline
from vllm_eval.config import TaskSettings, load_config
from vllm_eval.errors import (
    DeadlineError,
    InfrastructureError,
    PublishError,
    RegressionError,
    StorageError,
    UserError,
    VerificationError,
    VllmEvalError,
)
from vllm_eval.gateway import Gateway
from vllm_eval.lock import run_lock
from vllm_eval.models import Selection
from vllm_eval.publish import Publisher, ended_runs
from vllm_eval.results import Cause, ResultStore, RunResult, TaskResult
from vllm_eval.retention import apply_retention
from vllm_eval.secrets import Redactor
from vllm_eval.settings import RunSettings
from vllm_eval.storage import open_storage
from vllm_eval.tasks import Task, load_tasks

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunReport:
    """What a run came to: its record, and the error that its exit code follows, None when all is well."""

    run: RunResult
    error: VllmEvalError | None


class Runner:
    """Runs one model once.

    Parameters
    ----------
    fallback_key
        The key for a model that names none (``OPENAI_API_KEY``), or None.
    """

    def __init__(
        self, settings: RunSettings, selection: Selection, redactor: Redactor, *, fallback_key: str | None
    ) -> None:
        self._settings = settings
        self._selection = selection
        self._redactor = redactor
        self._fallback_key = fallback_key
        self._deadline = time.monotonic() + settings.deadline
        self._start = time.monotonic()

    def run(self) -> RunReport:
        """Do the whole run.

        Raises
        ------
        VllmEvalError
            Nothing could be recorded: bad configuration, or no storage.
        """
        settings, model = self._settings, self._selection.model
        enabled = load_config(settings.config)
        store = ResultStore(open_storage(settings.results))
        run = self._begin(store)
        publisher = Publisher(store, self._gateway(), settings.stack)
        try:
            with run_lock(store.storage, settings.stack, model.name, deadline=self._deadline):
                run = self._resume(store, run)
                unchanged = self._unchanged(store, run, enabled)
                if unchanged is not None:
                    return self._publish(store, publisher, unchanged, [])
                store.save(run)
                if self._selection.listed is not None:
                    publisher.record_list(run.run_id, run.started, self._selection.listed)
                run, errors = self._evaluate(store, run, enabled)
                return self._publish(store, publisher, run, errors)
        except StorageError as error:
            return self._unstored(publisher, run, enabled, error)

    def _gateway(self) -> Gateway | None:
        url = self._settings.pushgateway
        return Gateway(url, wait=self._settings.publish_wait) if url else None

    def _begin(self, store: ResultStore) -> RunResult:
        settings = self._settings
        path = settings.git_commit_file
        commit = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
        now = datetime.now(UTC)
        return RunResult(
            run_id=settings.run_id or f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}",
            stack=settings.stack,
            model=self._selection.model.identity(),
            git_commit=commit,
            job_name=settings.job_name,
            list_hash=self._selection.list_hash,
            started=now.timestamp(),
        )

    def _resume(self, store: ResultStore, run: RunResult) -> RunResult:
        """Go on with an earlier attempt of the same run: its start, and the tasks that are done."""
        earlier = store.load(run.stack, run.model["name"], run.run_id)
        if earlier is None or earlier.model != run.model:
            return run
        done = {name: task for name, task in earlier.tasks.items() if task.final}
        log.info("going on with run %s: %d of its tasks are done", run.run_id, len(done))
        return run.model_copy(update={"started": earlier.started, "tasks": done})

    def _unchanged(self, store: ResultStore, run: RunResult, enabled: Mapping[str, TaskSettings]) -> RunResult | None:
        """Return the last run of this model if only the list of models changed since, else None."""
        if not self._settings.incremental or self._selection.listed is None:
            return None
        runs = ended_runs(store.runs(run.stack, run.model["name"]))
        last = next((item for item in reversed(runs) if item.run_id != run.run_id), None)
        if last is None or not last.complete or not run.git_commit or last.git_commit != run.git_commit:
            return None
        if last.list_hash == run.list_hash or last.model != run.model:
            return None
        tasks = load_tasks(
            enabled, self._settings.tasks_folder, limit=self._settings.limit, api=self._selection.model.api
        )
        if {task.name: task.hash for task in tasks} != {name: task.task_hash for name, task in last.tasks.items()}:
            return None
        log.info("only the list of models changed since run %s: its scores of %s hold", last.run_id, run.model["name"])
        return last

    def _evaluate(
        self, store: ResultStore, run: RunResult, enabled: Mapping[str, TaskSettings]
    ) -> tuple[RunResult, list[VllmEvalError]]:
        attempt = Attempt(
            self._settings, self._selection.model, store, self._redactor,
            deadline=self._deadline, fallback_key=self._fallback_key,
        )  # fmt: skip
        errors: list[VllmEvalError] = []
        result = AttemptResult()
        tasks: list[Task] = []
        try:
            tasks = load_tasks(
                enabled, self._settings.tasks_folder, limit=self._settings.limit, api=self._selection.model.api
            )
            todo = [task for task in tasks if not _done(run, task)]
            result = attempt.evaluate(run, todo)
        except StorageError:
            raise
        except VllmEvalError as error:
            errors.append(error)
            result = attempt.failed(enabled, tasks, run, error)
        run = self._compared(store, run, result, len(enabled))
        errors += [_error_of(task) for task in run.tasks.values() if not task.good and not errors]
        run = run.model_copy(update={"failure": self._redactor.text(str(errors[0])) if errors else None})
        store.save(run)
        attempt.close(run)
        for error in apply_retention(store, run, self._selection.model, self._settings):
            log.warning("%s", error)
        return run, errors

    def _compared(self, store: ResultStore, run: RunResult, result: AttemptResult, tasks: int) -> RunResult:
        runs = ended_runs(store.runs(run.stack, run.model["name"]))
        series = tasks * len(self._selection.listed or (run.model["name"],))
        judged: dict[str, TaskResult] = dict(run.tasks)
        for name, task in result.tasks.items():
            samples = result.samples.get(name)
            if samples is not None:
                store.save_samples(run, name, samples)
            if task.good:
                comparison = compare_with_baseline(
                    store, runs, self._selection.model, run.run_id, task, samples, series=series
                )
                task = task.model_copy(update={"comparison": comparison})  # noqa: PLW2901 - the same task, completed
            judged[name] = task
        now = time.time()
        return run.model_copy(
            update={
                "tasks": judged,
                "ended": now,
                "duration": time.monotonic() - self._start,
                "asked": result.asked,
                "taken_over": result.taken_over,
                "retries": result.retries,
                "served": result.served,
                "requests_per_second": result.requests_per_second,
            }  # fmt: skip
        )

    def _publish(
        self, store: ResultStore, publisher: Publisher, run: RunResult, errors: list[VllmEvalError]
    ) -> RunReport:
        try:
            publisher.publish(run.model["name"])
            publisher.retire()
        except PublishError as error:
            # A verification failure must not be retried, but its publication must: so the gateway comes first.
            fatal = [item for item in errors if isinstance(item, UserError | DeadlineError)]
            return RunReport(run, fatal[0] if fatal else error)
        if errors:
            return RunReport(run, errors[0])
        worse = [name for name, task in run.tasks.items() if task.comparison and task.comparison.verdict == "worse"]
        if worse and self._settings.gate:
            return RunReport(run, RegressionError(f"worse than the baseline: {', '.join(worse)}"))
        return RunReport(run, None)

    def _unstored(
        self, publisher: Publisher, run: RunResult, enabled: Mapping[str, TaskSettings], error: StorageError
    ) -> RunReport:
        """Say on the gateway that the run failed, although nothing can be stored."""
        failed = {name: _unstorable(name, task, error) for name, task in enabled.items()}
        run = run.model_copy(update={"tasks": failed, "ended": time.time(), "failure": str(error)})
        try:
            publisher.publish(run.model["name"], unsaved=run)
        except VllmEvalError as second:
            log.error("%s", second)  # noqa: TRY400 - the message is made for people, a traceback is not
        return RunReport(run, error)


def _done(run: RunResult, task: Task) -> bool:
    earlier = run.tasks.get(task.name)
    return earlier is not None and earlier.final and earlier.task_hash == task.hash


def _unstorable(name: str, settings: TaskSettings, error: StorageError) -> TaskResult:
    return TaskResult(
        task=name, task_hash="", engine=settings.engine, engine_version="", good=False, cause="endpoint",
        problems=(str(error),),
    )  # fmt: skip


def _error_of(task: TaskResult) -> VllmEvalError:
    text = f"{task.task}: {'; '.join(task.problems)}"
    kinds: dict[Cause | None, type[VllmEvalError]] = {
        "verification": VerificationError, "endpoint": InfrastructureError, "input": UserError, "deadline": DeadlineError,
    }  # fmt: skip
    return kinds.get(task.cause, VerificationError)(text)
