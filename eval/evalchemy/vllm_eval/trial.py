"""Score tasks once without a model, to find what only scoring shows."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from vllm_eval.attempt import choose_engines
from vllm_eval.engines import EngineJob, TaskOutcome
from vllm_eval.errors import TaskError
from vllm_eval.models import Model
from vllm_eval.relay import Relay
from vllm_eval.requests import Answer, Failure, Request
from vllm_eval.tasks import Task
from vllm_eval.verify import verify

NONSENSE = "no sensible answer to anything"
_MODEL = Model(name="trial", tag="trial", endpoint="http://127.0.0.1:1/v1")


def try_tasks(tasks: Sequence[Task]) -> list[str]:
    """Answer every item first with nonsense, then with its own target.

    A task passes if its metric is there and in 0..1 both times, and if its own
    targets score more than nonsense: else its filter or target is wrong, and
    every model would be.

    Returns
    -------
    list of str
        One line a task, with both scores.

    Raises
    ------
    TaskError
        With all tasks that do not pass.
    """
    lines: list[str] = []
    found: list[str] = []
    for engine, its_tasks in choose_engines(tasks, _MODEL):
        nonsense = engine.run(_job(its_tasks, {}))
        targets = {
            (task.name, sample.doc_id): sample.target
            for task in its_tasks
            for sample in nonsense[task.name].samples or ()
        }
        oracle = engine.run(_job(its_tasks, targets))
        for task in its_tasks:
            low, high = nonsense[task.name], oracle[task.name]
            problems = verify(task, low) or verify(task, high)
            if not problems and _score(high) <= _score(low):
                scores = f"its own targets score {_score(high):.3f} and nonsense {_score(low):.3f}"
                problems = [f"{scores}; the filter or doc_to_target is wrong"]
            found += [f"{task.name}: {problem}" for problem in problems]
            if not problems:
                scores = f"own targets score {_score(high):.3f}, nonsense {_score(low):.3f}"
                lines.append(f"{task.name}: {high.answered} items; {scores}")
    if found:
        raise TaskError.of("tasks", found)
    return lines


def _score(outcome: TaskOutcome) -> float:
    return outcome.metrics[outcome.primary] if outcome.primary else 0.0


def _job(tasks: Sequence[Task], targets: dict[tuple[str, int], str]) -> EngineJob:
    def ask(requests: Sequence[Request]) -> dict[str, Answer | Failure]:
        return {
            request.key: Answer(
                text=targets.get((request.task, request.doc_id), NONSENSE), finish_reason="stop", served=_MODEL.name
            )
            for request in requests
        }

    def relay(task: Task) -> AbstractContextManager[Relay]:
        raise TaskError(f"{task.name}: its engine asks by itself and cannot be tried without a model")

    return EngineJob(model=_MODEL, tasks=tasks, ask=ask, relay=relay, seed=1234, deadline=float("inf"))
