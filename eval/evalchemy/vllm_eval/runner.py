"""One run of one model: preflight, ask, verify, compare, store, publish."""

import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from vllm_eval.attempt import Attempt, AttemptResult, choose_engines
from vllm_eval.baseline import BaselineRule, accepted_run, compare_run
from vllm_eval.config import TaskSettings, load_config
from vllm_eval.data.resolve import with_data
from vllm_eval.errors import (
    EngineError,
    PublishError,
    RegressionError,
    StorageError,
    VerificationError,
    VllmEvalError,
)
from vllm_eval.gateway import Gateway
from vllm_eval.group_results import group_result, pool
from vllm_eval.groups import Plan, TaskGroup, expand
from vllm_eval.judge import error_of, failed
from vllm_eval.lock import run_lock
from vllm_eval.models import UNKNOWN_COMMITS, Selection, choose_tasks
from vllm_eval.pages.words import Words
from vllm_eval.pages.write import write_pages
from vllm_eval.publish import Publisher, ended_runs
from vllm_eval.records import RunResult, TaskResult
from vllm_eval.results import ResultStore
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


class EvaluationRunner:
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
        self._model = selection.model
        self._redactor = redactor
        self._fallback_key = fallback_key
        self._deadline = time.monotonic() + settings.deadline
        self._store = ResultStore(open_storage(settings.results))
        gateway = Gateway(settings.pushgateway, wait=settings.publish_wait) if settings.pushgateway else None
        self._resolved: list[Task] | None = None
        self._publisher = Publisher(self._store, gateway, settings.stack)
        self._series = 1
        self._words = Words(settings.language)

    def run(self) -> RunReport:
        """Do the whole run.

        Raises
        ------
        VllmEvalError
            Nothing could be recorded: bad configuration, or another run held the lock.
        """
        enabled = choose_tasks(self._model, everything := load_config(self._settings.config))
        self._series = self._selection.series(len(everything))
        run = self._begin()
        try:
            with run_lock(self._store.storage, run.stack, self._model.name, deadline=self._deadline):
                return self._locked(run, enabled)
        except StorageError as error:
            return self._unstored(run, enabled, error)

    def _locked(self, run: RunResult, enabled: Mapping[str, TaskSettings]) -> RunReport:
        rule = self._rule()
        unchanged = self._unchanged(run, enabled)
        if self._selection.listed is not None:
            self._publisher.record_list(run.run_id, run.started, self._selection.listed)
        if unchanged is not None:
            runs = ended_runs(self._store.runs(run.stack, self._model.name))
            compared = compare_run(self._store, runs, unchanged, rule)
            self._store.save(compared)
            outcome = self._publish(compared, None)
            write_pages(self._store, compared, self._words)
            return outcome
        run = self._resume(run)
        self._store.save(run)
        run, error = self._evaluate(run, enabled, rule)
        apply_retention(self._store, run, rule, self._settings)
        outcome = self._publish(run, error)
        write_pages(self._store, run, self._words)
        return outcome

    def _begin(self) -> RunResult:
        settings = self._settings
        path = settings.git_commit_file
        now = time.time()
        return RunResult(
            run_id=settings.run_id or f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{secrets.token_hex(3)}",
            stack=settings.stack,
            model=self._model.identity(),
            git_commit=path.read_text(encoding="utf-8").strip() if path.is_file() else "",
            job_name=settings.job_name,
            list_hash=self._selection.list_hash,
            started=now,
        )

    def _rule(self) -> BaselineRule:
        listed = self._selection.listed
        accepted = self._model.baseline.run if self._model.baseline is not None else None
        if accepted is None and listed is None:
            # A stack's baselines are lines of its reviewed settings; a file counts on a laptop only.
            accepted = accepted_run(self._store, self._settings.stack, self._model.name)
        return BaselineRule(accepted=accepted, series=self._series)

    def _resume(self, run: RunResult) -> RunResult:
        """Go on with an earlier attempt of the same run: its start, and the tasks that are done."""
        earlier = self._store.load(run.stack, self._model.name, run.run_id)
        if earlier is None or earlier.model != run.model:
            return run
        done = {name: task for name, task in earlier.asked_tasks.items() if task.final}
        log.info("going on with run %s: %d of its tasks are done", run.run_id, len(done))
        tasks, leaves = (
            {name: done[name] for name in each if name in done} for each in (earlier.tasks, earlier.leaves)
        )
        return run.model_copy(update={"started": earlier.started, "tasks": tasks, "leaves": leaves})

    def _unchanged(self, run: RunResult, enabled: Mapping[str, TaskSettings]) -> RunResult | None:
        """Return the last run of this model if only the list of models changed since, else None."""
        if not self._settings.incremental or self._selection.listed is None or run.git_commit in UNKNOWN_COMMITS:
            return None
        runs = ended_runs(self._store.runs(run.stack, self._model.name))
        last = next((item for item in reversed(runs) if item.run_id != run.run_id), None)
        if last is None or not last.complete or last.model != run.model or last.git_commit != run.git_commit:
            return None
        # The same list again is a run that somebody asked for, unless it is this run's own second attempt.
        if last.list_hash in {"", run.list_hash} and last.held_by != run.run_id:
            return None
        plan = expand(enabled, self._settings.tasks_folder)
        try:
            tasks = self._tasks(plan)
        except VllmEvalError:
            return None  # the evaluation meets the same, and records it
        if plan.hashes(tasks) != {name: task.task_hash for name, task in last.tasks.items()}:
            return None
        log.info("only the list of models changed since run %s: its scores hold", last.run_id)
        # With this list's hash, so that the next run of this same list evaluates.
        return last.model_copy(update={"list_hash": run.list_hash, "held_by": run.run_id})

    def _tasks(self, plan: Plan) -> list[Task]:
        """Resolve the tasks with their items; once a run, since a hub may have newer ones a minute later."""
        if self._resolved is None:
            folder = self._settings.tasks_folder
            tasks = load_tasks(
                plan.tasks, folder, limit=self._settings.limit, api=self._model.api, asking=self._model.asking,
                over=plan.over,
            )  # fmt: skip
            if any(task.wants_data for task in tasks):
                choose_engines(tasks, self._model)  # refuses what cannot run before anything is fetched
                tasks = with_data(tasks, self._settings.data)
            self._resolved = tasks
        return self._resolved

    def _evaluate(
        self, run: RunResult, enabled: Mapping[str, TaskSettings], rule: BaselineRule
    ) -> tuple[RunResult, VllmEvalError | None]:
        before = ended_runs(self._store.runs(run.stack, self._model.name))
        attempt = Attempt(
            self._settings, self._model, self._store.storage, self._redactor,
            deadline=self._deadline, fallback_key=self._fallback_key, closed=_closed(before, run),
        )  # fmt: skip
        result = AttemptResult()
        tasks: dict[str, Task] = {}
        plan = Plan(lines=enabled, tasks=enabled)
        try:
            plan = expand(enabled, self._settings.tasks_folder)
            tasks = {task.name: task for task in self._tasks(plan)}
            result = attempt.evaluate(run, [task for task in tasks.values() if not _done(run, task)])
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever breaks, the run ends with a record and no score
            clean = self._clean(error)
            open_tasks = [name for name in plan.tasks if name not in tasks or not _done(run, tasks[name])]
            result.tasks = {name: failed(name, plan.tasks[name], tasks.get(name), clean) for name in open_tasks}
        run = self._finish(run, attempt, result, plan)
        run = compare_run(self._store, [*(item for item in before if item.run_id != run.run_id), run], run, rule)
        error_now = error_of(run.tasks.values())
        run = run.model_copy(update={"failure": str(error_now) if error_now else None})
        self._store.save(run)
        attempt.close(run)
        return run, error_now

    def _clean(self, error: Exception) -> VllmEvalError:
        """Return the error without secrets; one that nobody foresaw is the engine's, and logged whole."""
        if isinstance(error, VllmEvalError):
            return type(error)(self._redactor.text(str(error)))
        log.error("an error that was not foreseen", exc_info=error)
        return EngineError(self._redactor.text(f"{type(error).__name__}: {error}"))

    def _finish(self, run: RunResult, attempt: Attempt, result: AttemptResult, plan: Plan) -> RunResult:
        for name, samples in result.samples.items():
            self._store.save_samples(run, name, samples, result.inner[name])
        merged = {**run.asked_tasks, **result.tasks}
        merged |= {name: self._group(run, group, merged) for name, group in plan.groups.items()}
        ended = time.time()
        stats = attempt.stats
        return run.model_copy(
            update={
                # Only tasks that are enabled now, in the configuration's order.
                "tasks": {name: merged[name] for name in plan.lines if name in merged},
                "leaves": {name: merged[name] for name in plan.tasks if name in merged and name not in plan.lines},
                "ended": ended,
                "duration": max(ended - run.started, 0.0),
                "asked": stats.asked,
                "taken_over": attempt.taken_over,
                "retries": stats.retries,
                "served": tuple(sorted(stats.served)),
                "requests_per_second": stats.rate,
                "output_tokens_per_second": stats.token_rate,
            }
        )

    def _group(self, run: RunResult, group: TaskGroup, results: Mapping[str, TaskResult]) -> TaskResult:
        """Build a group's result from its leaves', and store the values of all their items together."""
        leaves = {name: results[name] for name in group.leaves if name in results}
        hashes = {name: result.task_hash for name, result in leaves.items()}
        paired = len(leaves) == len(group.leaves) and all(result.paired for result in leaves.values())
        values = pool({name: self._store.item_values(run, name) for name in leaves}) if paired else None
        if values is not None:
            self._store.save_values(run, group.name, values)
        return group_result(group, hashes, leaves, values)

    def _publish(self, run: RunResult, error: VllmEvalError | None) -> RunReport:
        listed = self._selection.listed is not None
        try:
            self._publisher.publish(self._model.name, listed=listed, run_id=run.run_id)
            if listed:
                self._publisher.retire()
        except PublishError as unpublished:
            # A failed verification is not to be retried, but its publication is: then the gateway's fault comes first.
            if error is None or isinstance(error, VerificationError):
                return RunReport(run, unpublished)
            log.error("%s", unpublished)  # noqa: TRY400 - said, though the other error decides the exit code
            return RunReport(run, error)
        worse = [name for name, task in run.tasks.items() if task.comparison and task.comparison.verdict == "worse"]
        if error is None and worse and self._settings.gate:
            error = RegressionError(f"worse than the baseline: {', '.join(worse)}")
        return RunReport(run, error)

    def _unstored(self, run: RunResult, enabled: Mapping[str, TaskSettings], error: StorageError) -> RunReport:
        """Say on the gateway that the run failed, although nothing can be stored."""
        tasks = {name: failed(name, settings, None, error) for name, settings in enabled.items()}
        run = run.model_copy(update={"tasks": tasks, "ended": time.time(), "failure": str(error)})
        try:
            self._publisher.publish_unsaved(run)
        except VllmEvalError as second:
            log.error("%s", second)  # noqa: TRY400 - the message is made for people, a traceback is not
        return RunReport(run, error)


def _done(run: RunResult, task: Task) -> bool:
    earlier = run.asked_tasks.get(task.name)
    return earlier is not None and earlier.final and earlier.task_hash == task.hash


def _closed(runs: list[RunResult], run: RunResult) -> dict[str, float]:
    """Return, by task hash, when the last run of this very model finished the task."""
    closed: dict[str, float] = {}
    for earlier in runs:
        for task in earlier.asked_tasks.values():
            if task.final and earlier.model == run.model:
                closed[task.task_hash] = max(task.ended, closed.get(task.task_hash, 0.0))
    return closed
