"""Score tasks once without a model, to find what only scoring shows."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Final

from vllm_eval import power
from vllm_eval.attempt import choose_engines
from vllm_eval.engines import Engine, EngineJob, TaskOutcome
from vllm_eval.engines.evalchemy import EvalchemyEngine
from vllm_eval.errors import TaskError
from vllm_eval.generation import read_generation
from vllm_eval.models import Model
from vllm_eval.power import Size
from vllm_eval.records import Sample
from vllm_eval.relay import Relay
from vllm_eval.requests import Answer, Failure, Request
from vllm_eval.tasks import Task
from vllm_eval.verify import verify

NONSENSE: Final = "no sensible answer to anything"
_MODEL: Final = Model(name="trial", tag="trial", endpoint="http://127.0.0.1:1/v1")
# Of an item's list of right answers, as many are tried; of the items that fail, as many are shown.
_MOST_TARGETS: Final = 16
_SHOWN: Final = 10

# (task, doc_id) to the text that the trial answers.
_Texts = Mapping[tuple[str, int], str]


class _AsksItselfError(Exception):
    """The engine has a client of its own, which only a real model can answer."""


@dataclass
class _Trial:
    """One task: its outcomes for nonsense and for its own targets, and the items that no target answers."""

    task: Task
    nonsense: TaskOutcome
    oracle: TaskOutcome
    failing: dict[int, Sample]


def try_tasks(tasks: Sequence[Task], series: int = 1) -> list[str]:
    """Answer every item first with nonsense, then with its own target.

    A task passes if its metric is there and in 0..1 both times, and if every
    item is scored 1 for its own target (one of a list, the choice of an index):
    else its filter or target is wrong, and every model would be. Where a
    pattern, ``process_results`` or repeats decide what is right, a target alone
    need not be, and the line says that it cannot be tried.

    Parameters
    ----------
    series
        How many scores the stack watches, for what a task of its size can show.

    Returns
    -------
    list of str
        What a task scored, and what drop it could show: two lines a task.

    Raises
    ------
    TaskError
        With all tasks that do not pass, and their items.
    """
    lines: list[str] = []
    found: list[str] = []
    for engine, its_tasks in choose_engines(tasks, _MODEL):
        by_name = {task.name: task for task in its_tasks}
        # A target may be short, empty or long; the bounds are meant for what models say.
        lenient = [replace(task, settings=task.settings.model_copy(update=_ANY_SHARE)) for task in its_tasks]
        try:
            trials = _try(engine, lenient)
        except _AsksItselfError:
            lines += [f"{task.name}: cannot be tried without a model: {engine.name} asks by itself" for task in lenient]
            if isinstance(engine, EvalchemyEngine):
                lines += [f"{task.name}: {power.describe(engine.size(task), series)}" for task in its_tasks]
            continue
        for trial in trials:
            problems = _problems(trial)
            found += [f"{trial.task.name}: {problem}" for problem in problems]
            if not problems:
                name = trial.task.name
                lines.append(f"{name}: {trial.oracle.answered} items; {_said(trial)}")
                lines.append(f"{name}: {power.describe(_size(by_name[name], trial), series)}")
    if found:
        raise TaskError.of("tasks", found)
    return lines


_ANY_SHARE: Final = {"max_empty_share": 1.0, "max_truncated_share": 1.0, "samples": 1}


def _try(engine: Engine, tasks: Sequence[Task]) -> list[_Trial]:
    nonsense = engine.run(_job(tasks, {}))
    oracle: dict[str, TaskOutcome] = {}
    failing: dict[str, dict[int, Sample]] = {}
    for turn in range(_MOST_TARGETS):
        outcomes = engine.run(_job(tasks, _texts(tasks, nonsense, turn)))
        for task in tasks:
            wrong = {s.doc_id: s for s in outcomes[task.name].samples or () if s.value < 1}
            known = failing.get(task.name)
            oracle.setdefault(task.name, outcomes[task.name])
            failing[task.name] = wrong if known is None else {k: v for k, v in known.items() if k in wrong}
        # Those that failed and have a further text.
        tasks_left = [
            task
            for task in tasks
            if any(len(nonsense[task.name].targets.get(item, ())) > turn + 1 for item in failing[task.name])
        ]
        if not tasks_left:
            break
    return [_Trial(task, nonsense[task.name], oracle[task.name], failing[task.name]) for task in tasks]


def _texts(tasks: Sequence[Task], outcomes: Mapping[str, TaskOutcome], turn: int) -> _Texts:
    return {
        (task.name, item): texts[min(turn, len(texts) - 1)]
        for task in tasks
        for item, texts in outcomes[task.name].targets.items()
        if texts
    }


def _size(task: Task, trial: _Trial) -> Size:
    sampled = read_generation(task.generation)[0].temperature > 0
    return Size(items=max(trial.oracle.answered, 1), repeats=task.samples, sampled=sampled or task.samples > 1)


def _problems(trial: _Trial) -> list[str]:
    problems = verify(trial.task, trial.nonsense) or verify(trial.task, trial.oracle)
    if problems or trial.oracle.untried:
        return problems
    if trial.failing:
        return [
            f"{len(trial.failing)} of {trial.oracle.answered} items are not right for their own target",
            *_shown(trial),
        ]
    if _score(trial.oracle) <= _score(trial.nonsense):
        scores = f"its own targets score {_score(trial.oracle):.3f} and nonsense {_score(trial.nonsense):.3f}"
        return [f"{scores}; the filter, the metric or doc_to_target is wrong"]
    return []


def _shown(trial: _Trial) -> list[str]:
    items = trial.task.items
    shown = [
        f"{items.origin(item) if items else f'item {item + 1}'}: the target {sample.target[:80]!r} "
        f"is judged as {sample.judged[:80]!r}"
        for item, sample in sorted(trial.failing.items())[:_SHOWN]
    ]
    more = len(trial.failing) - len(shown)
    return shown + ([f"and {more} more; the filter, doc_to_target or these items are wrong"] if more else [])


def _said(trial: _Trial) -> str:
    nonsense = f"nonsense {_score(trial.nonsense):.3f}"
    if trial.oracle.untried and (trial.failing or trial.oracle.samples is None):
        count = f"{len(trial.failing)} of them " if trial.failing else ""
        return f"own targets cannot be tried for {count}({trial.oracle.untried}), {nonsense}"
    return f"own targets score {_score(trial.oracle):.3f}, {nonsense}"


def _score(outcome: TaskOutcome) -> float:
    return outcome.metrics[outcome.primary] if outcome.primary else 0.0


def _job(tasks: Sequence[Task], texts: _Texts) -> EngineJob:
    def ask(requests: Sequence[Request]) -> dict[str, Answer | Failure]:
        return {
            request.key: Answer(
                text=texts.get((request.task, request.doc_id), NONSENSE), finish_reason="stop", served=_MODEL.name
            )
            for request in requests
        }

    def relay(_: Task) -> AbstractContextManager[Relay]:
        raise _AsksItselfError

    return EngineJob(
        model=_MODEL, tasks=tasks, ask=ask, relay=relay, seed=1234, deadline=float("inf"), right=bool(texts)
    )
