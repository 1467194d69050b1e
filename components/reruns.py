"""Which models a changed Job evaluates again: the one rule for previews and for pull requests.

The runner decides when it starts (`EvaluationRunner._unchanged` in `vllm_eval.runner`). This module says the same in
advance, from the Job before and after an update; `tests/unit/components/test_reruns.py` compares both.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from components.labels import COMMIT_ANNOTATION, EVALUATION, MODELS_ANNOTATION
from vllm_eval import models as runner
from vllm_eval.settings import RunSettings

# What decides, beside the model, where the runner finds its last run and whether that one was the same evaluation.
ASKED: Final = ("VLLM_EVAL_CONFIG", "VLLM_EVAL_LIMIT", "VLLM_EVAL_RESULTS", "VLLM_EVAL_STACK")

DEFAULT_CONFIG: Final = RunSettings.config.name


@dataclass(frozen=True)
class Rerun:
    """What a Job evaluates when it is created again.

    Attributes
    ----------
    models
        The number of models that are evaluated again.
    listed
        The number of models of the Job.
    own
        The number of tasks of each model that is evaluated again and has its own list of tasks.
    """

    models: int
    listed: int
    own: tuple[int, ...] = ()

    def times(self, tasks: int) -> str:
        """Return the amount of work as text, such as `2 models x 3 tasks`, of which `tasks` is the default."""
        each = [*self.own, *[tasks] * (self.models - len(self.own))]
        if len(set(each)) > 1:
            return f"{_counted(self.models, 'model')}, {sum(each)} tasks in all"
        return f"{_counted(self.models, 'model')} x {_counted(each[0] if each else tasks, 'task')}"


def everything(job: Mapping[str, Any]) -> Rerun:
    """Return the evaluation of every model; without a list it is the one model of the pod's environment."""
    listed = _listed(job)
    count = len(listed) or 1
    return Rerun(count, count, _own(listed))


def config_of(job: Mapping[str, Any]) -> str:
    """Return the file that lists the tasks, below the folder of configurations."""
    values = [each.get("value") for each in _container(job).get("env", []) if each["name"] == "VLLM_EVAL_CONFIG"]
    return str(values[0] if values else DEFAULT_CONFIG).removeprefix(f"{RunSettings.config.parent}/")


def of(before: Mapping[str, Any] | None, after: Mapping[str, Any], enabled: Iterable[str] = ()) -> Rerun:
    """Return what the Job `after`, which replaces `before`, evaluates.

    Parameters
    ----------
    before
        The Job's manifest until now, None when there was none.
    after
        The manifest that replaces it.
    enabled
        The tasks of a model that lists none. Without them, a model that lists its tasks now and did not before counts
        as changed.
    """
    whole = everything(after)
    if before is None:
        return whole
    old, new = _listed(before), _listed(after)
    # With the same list, somebody asked for the evaluation, so the runner leaves no model out.
    if not old or not new or _hash(old) == _hash(new):
        return whole
    commit = _annotations(after).get(COMMIT_ANNOTATION, "")
    if commit in runner.UNKNOWN_COMMITS or _remembered(before) != _remembered(after):
        return whole
    every = frozenset(enabled)
    known = [_asked(each, every) for each in old]
    again = [each for each in new if _asked(each, every) not in known]
    return Rerun(len(again), len(new), _own(again))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _pod(job: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(job["spec"]["template"]["spec"])


def _container(job: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((each for each in _pod(job)["containers"] if each["name"] == EVALUATION), {})


def _annotations(job: Mapping[str, Any]) -> Mapping[str, str]:
    annotations = job["spec"]["template"].get("metadata", {}).get("annotations")
    return annotations if isinstance(annotations, dict) else {}


def _listed(job: Mapping[str, Any]) -> list[Any]:
    listed = json.loads(_annotations(job).get(MODELS_ANNOTATION) or "[]")
    return listed if isinstance(listed, list) else []


def _identity(entry: object) -> object:
    """Return the key by which the runner recognizes a model; for an entry that it would refuse, the entry itself."""
    try:
        return runner.Model.model_validate(entry).identity()
    except ValidationError:
        return entry


def _asked(entry: object, enabled: frozenset[str]) -> object:
    """Return the model, and what it is asked."""
    tasks = entry.get("tasks") if isinstance(entry, dict) else None
    return _identity(entry), frozenset(tasks) if isinstance(tasks, list) else enabled


def _own(entries: list[Any]) -> tuple[int, ...]:
    return tuple(
        len(each["tasks"]) for each in entries if isinstance(each, dict) and isinstance(each.get("tasks"), list)
    )


def _hash(entries: list[Any]) -> object:
    try:
        return runner.list_hash([runner.Model.model_validate(each) for each in entries])
    except ValidationError:
        return entries


def _remembered(job: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what decides whether the runner finds its last run, and finds it to be of the same evaluation."""
    container = _container(job)
    environment = {each["name"]: each for each in container.get("env", []) if each["name"] in ASKED}
    volumes = {each["name"]: each for each in _pod(job).get("volumes", [])}
    namespace = job.get("metadata", {}).get("namespace")
    commit = _annotations(job).get(COMMIT_ANNOTATION)
    return namespace, commit, container.get("image"), environment, volumes.get("results")
