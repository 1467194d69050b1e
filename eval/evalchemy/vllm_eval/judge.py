"""Turns an engine's outcome, or an error, into a task's stored result."""

import time
from collections.abc import Iterable

from vllm_eval.catalog import DEFAULT_METRIC
from vllm_eval.config import TaskSettings
from vllm_eval.engines import Engine, TaskOutcome
from vllm_eval.errors import (
    DeadlineError,
    InfrastructureError,
    UserError,
    VerificationError,
    VllmEvalError,
)
from vllm_eval.records import Cause, DataRecord, Score, TaskResult, item_values
from vllm_eval.stats import standard_error
from vllm_eval.tasks import Task
from vllm_eval.verify import verify

# The class that a run's exit code follows when its tasks failed for several
# causes: a fault that a retry may heal first, so that the pod is retried.
CAUSES: dict[Cause, type[VllmEvalError]] = {
    "endpoint": InfrastructureError,
    "deadline": DeadlineError,
    "input": UserError,
    "verification": VerificationError,
}


def judge(engine: Engine, task: Task, outcome: TaskOutcome, swapped: str | None) -> TaskResult:
    """Verify one task's outcome and build its result.

    Parameters
    ----------
    swapped
        How the served model changed during the run, None if it did not.
    """
    problems = [*verify(task, outcome), *([swapped] if swapped is not None else [])]
    good = not problems
    primary = outcome.primary
    return TaskResult(
        task=task.name,
        task_hash=task.hash,
        engine=engine.name,
        engine_version=f"{engine.version}, {outcome.choices.asked}" if outcome.choices else engine.version,
        good=good,
        cause=None if good else outcome.cause or "verification",
        problems=tuple(problems),
        metric=primary[0] if primary else task.metric,
        filter=primary[1] if primary else task.settings.filter,
        score=outcome.metrics[primary] if good and primary else None,
        stderr=_stderr(outcome) if good else None,
        samples=outcome.answered,
        expected=task.expected if task.expected is not None else outcome.expected,
        empty=outcome.empty,
        truncated=outcome.truncated,
        scores=_other_scores(outcome) if good else (),
        paired=good and outcome.samples is not None,
        ended=time.time(),
        choice_mass=outcome.choice_mass if good else None,
        choices=outcome.choices,
        repeats=outcome.repeats,
        thoughts=outcome.thoughts,
        answers=outcome.answers,
        speed=outcome.speed,
        generation=task.generation,
        data=_data(task),
    )


def failed(name: str, settings: TaskSettings, task: Task | None, error: VllmEvalError) -> TaskResult:
    """Build the result of a task that ``error`` kept from being judged; ``task`` is None if it could not be read."""
    cause = next((cause for cause, kind in CAUSES.items() if isinstance(error, kind)), "endpoint")
    return TaskResult(
        task=name,
        task_hash=task.hash if task else "",
        engine=settings.engine,
        engine_version="",
        good=False,
        cause=cause,
        problems=(str(error),),
        metric=task.metric if task else settings.metric or DEFAULT_METRIC,
        filter=settings.filter,
        expected=task.expected if task else None,
        ended=time.time(),
        data=_data(task) if task else None,
    )


def error_of(results: Iterable[TaskResult]) -> VllmEvalError | None:
    """Build the one error that a run with these tasks ends with, None if all are good."""
    bad = [result for result in results if not result.good]
    names: dict[str, list[str]] = {}
    for result in bad:
        names.setdefault("; ".join(result.problems), []).append(result.task)
    text = "\n".join(f"{', '.join(tasks)}: {problems}" for problems, tasks in names.items())
    kind = next((kind for cause, kind in CAUSES.items() if any(result.cause == cause for result in bad)), None)
    return kind(text) if kind is not None else None


def _data(task: Task) -> DataRecord | None:
    data = task.data
    if data is None:
        return None
    return DataRecord(repository=data.repository, commit=data.commit, config=data.config, digest=data.digest)


def _stderr(outcome: TaskOutcome) -> float | None:
    """Return the standard error: by clusters if the items have any, else the engine's, else that of the items' mean.

    The answers to one item are one unit: the engine's own number would take them for independent.
    """
    items = item_values(outcome.samples or ())
    if items.clusters is not None:
        return standard_error(items.values, items.clusters)
    given = outcome.stderrs.get(outcome.primary) if outcome.primary and items.samples == 1 else None
    return given if given is not None else standard_error(items.values)


def _other_scores(outcome: TaskOutcome) -> tuple[Score, ...]:
    return tuple(
        Score(metric=metric, filter=name, value=value)
        for (metric, name), value in outcome.metrics.items()
        if (metric, name) != outcome.primary
    )
