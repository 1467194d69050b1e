"""Load tasks into lm_eval and look at each of their items before the first request.

lm_eval is imported only when needed: see ``lm_eval.py`` beside it.
"""

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vllm_eval import catalog
from vllm_eval.engines.lm_eval_choices import gold
from vllm_eval.engines.repeats import EQUAL_SAMPLES
from vllm_eval.errors import TaskError, Terminated, gathered
from vllm_eval.generation import read_generation
from vllm_eval.items import Items
from vllm_eval.records import to_text
from vllm_eval.sources import ITEM_LOADER
from vllm_eval.tasks import Task, lay_over

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

_HERE: Final = str(Path(__file__).resolve().parents[1])
# Filters that leave an answer which is exactly the target as it is. A function of
# the task's own ("custom") must do so too: it is what `validate` tries.
_PLAIN_FILTERS: Final = frozenset(
    {"custom", "lowercase", "majority_vote", "remove_whitespace", "take_first", "take_first_k", "uppercase"}
)


def load(tasks: Sequence[Task]) -> dict[str, Any]:
    """Load all tasks into lm_eval.

    Returns
    -------
    dict
        Task name to lm_eval's task.

    Raises
    ------
    TaskError
        A task cannot be loaded, or one of its items cannot be asked or scored; all such tasks are named.
    """
    from lm_eval.tasks import TaskManager

    # Only a built-in task needs the index of lm_eval's 14,000 YAML files, which takes seconds.
    built_in = any(task.yaml_path is None and task.data is None for task in tasks)
    manager = catalog.manager() if built_in else TaskManager(include_defaults=False)
    loaded: dict[str, Any] = {}
    found: list[str] = []
    for task in tasks:
        try:
            objects = _objects(manager, task)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - loading runs the task's own code
            found.append(f"{task.name}: lm_eval cannot load it: {describe(error)}{_first_item(task)}")
            continue
        problem = _unfit(task, objects) or _unfit_items(task, objects[task.name])
        if problem is not None:
            found.append(f"{task.name}: {problem}")
        else:
            loaded[task.name] = objects[task.name]
    if found:
        raise TaskError.of("tasks", gathered(found))
    return loaded


def _objects(manager: "TaskManager", task: Task) -> dict[str, Any]:
    data = task.data
    if data is None:
        return dict(manager.load([spec_of(task)])["tasks"])
    if data.loaded is not None:
        return {task.name: data.loaded}
    from vllm_eval.engines.lm_eval_data import with_items

    return dict(manager.load([with_items(spec_of(task, whole=True), data)])["tasks"])


def describe(error: BaseException) -> str:
    """Say what a task's own code raised; a task's ``sys.exit`` is its error like another.

    Raises
    ------
    Terminated
        The process is being stopped; that is no task's error.
    """
    if isinstance(error, Terminated):
        raise error
    if isinstance(error, SystemExit):
        return f"its code ends the process with sys.exit({error.code!r}); raise an exception instead"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    last = frames[-1] if frames else None
    # Where in the task's own file; the runner's own frames tell its author nothing.
    where = f" ({last.filename}, line {last.lineno})" if last and not last.filename.startswith(_HERE) else ""
    return f"{type(error).__name__}: {error}{where}"


def accepted(loaded: Any, item: Mapping[str, Any]) -> tuple[str, ...]:  # noqa: ANN401 - lm_eval has no types
    """Return the texts each of which answers an item right, as its target says.

    An element of a list of targets; the choice that an index names.
    """
    if loaded.OUTPUT_TYPE == "multiple_choice":
        choices = list(loaded.doc_to_choice(item))
        return tuple(to_text(choices[index]) for index in gold(loaded, item))
    target = loaded.doc_to_target(item)
    targets = list(target) if isinstance(target, list | tuple) else [target]
    if loaded.get_config("doc_to_choice") is not None:
        choices = loaded.doc_to_choice(item)
        targets = [choices[value] if isinstance(value, int) else value for value in targets]
    return tuple(to_text(value) for value in targets)


def untried(loaded: Any, filter_name: str) -> str | None:  # noqa: ANN401 - lm_eval has no types
    """Say why an item's own target need not be scored 1; None if it must."""
    if loaded.get_config("process_results") is not None:
        return "its process_results decides what is right"
    filters = loaded.get_config("filter_list") or []
    chosen: list[dict[str, Any]] = next((entry["filter"] for entry in filters if entry["name"] == filter_name), [])
    pattern = next((step["function"] for step in chosen if step["function"] not in _PLAIN_FILTERS), None)
    if pattern is not None:
        return f"its filter {filter_name!r} looks for a pattern ({pattern}), which a target alone need not have"
    repeats = loaded.get_config("repeats") or 1
    return f"each item is asked {repeats} times" if repeats > 1 else None


def _first_item(task: Task) -> str:
    return f" (lm_eval tries the first item, {task.items.origin(0)})" if task.items else ""


def _unfit(task: Task, objects: Mapping[str, Any]) -> str | None:
    """Say why a task that lm_eval loaded would fail after all answers are paid for, None if it would not."""
    if list(objects) != [task.name]:
        return f"is a group ({', '.join(objects)}); enable its tasks by their names"
    loaded = objects[task.name]
    if loaded.OUTPUT_TYPE not in catalog.KINDS:
        return catalog.refuse_output(loaded.OUTPUT_TYPE)
    if getattr(loaded, "MULTIMODAL", False):
        return "needs images or sound, which this runner does not send"
    return _unfit_repeats(task, loaded) or _unfit_metric(task, loaded)


def _unfit_repeats(task: Task, loaded: Any) -> str | None:  # noqa: ANN401 - lm_eval has no types
    if task.samples == 1:
        return None
    if (loaded.get_config("repeats") or 1) > 1:
        return "samples and the YAML's `repeats` both say how often an item is asked; keep one"
    if read_generation(loaded.get_config("generation_kwargs"))[0].temperature == 0:
        return EQUAL_SAMPLES.format(task.samples)
    return None


def _unfit_metric(task: Task, loaded: Any) -> str | None:  # noqa: ANN401 - lm_eval has no types
    metric = task.metric
    # lm_eval takes an unknown metric for None, and says so only in its log.
    functions: Mapping[str, Any] = getattr(loaded, "_metric_fn_list", {})
    unknown = [name for name, function in functions.items() if function is None]
    if unknown and loaded.get_config("process_results") is None:
        return f"lm_eval does not know the metric {', '.join(unknown)}"
    if functions and metric not in functions:
        return f"its metric_list has {', '.join(functions)}, not {metric!r}; set the task's metric"
    if str(loaded.higher_is_better().get(metric, True)).lower() in {"false", "no", "0", "0.0"}:
        return (
            f"its metric {metric!r} has higher_is_better: false, but verdicts and alerts take the lower score "
            "for the worse one; let process_results return 1 - value, and set higher_is_better: true"
        )
    return None


def _unfit_items(task: Task, loaded: Any) -> str | None:  # noqa: ANN401 - lm_eval has no types
    """Say which item is not the file's, or has no prompt or no target; None if all are well."""
    for split, items in task.splits.items():
        changed = _changed(items, loaded.dataset[split])
        if changed is not None:
            return changed
    for number, item in enumerate(loaded.eval_docs):
        if task.limit is not None and number >= task.limit:
            break
        try:
            loaded.doc_to_text(item)
            accepted(loaded, item)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - templates and functions of the task
            where = task.items.origin(number) if task.items else f"item {number + 1}"
            return f"{where}: no prompt or no target can be made of the item: {describe(error)}"
    return None


def _changed(items: Items, loaded: Any) -> str | None:  # noqa: ANN401 - what a task's loader returned
    """Say which item a task's own loader made another of; a copy of an older load_items does."""
    if loaded is items or (isinstance(loaded, Items) and loaded.origins == items.origins):
        return None
    for number, (item, got) in enumerate(zip(items, loaded, strict=False)):
        if not _same(item, dict(got)):
            return f"{items.origin(number)}: the loader makes {dict(got)!r} of {item!r}; take this version's load_items"
    return None


def _same(one: object, other: object) -> bool:
    """Whether two values are equal in their types too: ``7`` is not ``7.0``, nor ``True`` ``1``."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


def spec_of(task: Task, *, whole: bool = False) -> Any:  # noqa: ANN401 - a name, or the mapping of a task
    """Return the task's YAML, settings laid over, with its items read.

    The name of a built-in task is left as it is unless something is laid over or left out, or ``whole`` is asked for.
    """
    from lm_eval.tasks._yaml_loader import load_yaml

    path, layer = task.yaml_path, task.asking.layer(task.api)
    if path is None:
        known = catalog.config_of(task.name)
        as_it_is = catalog.without_scripts(known) == known
        if as_it_is and not whole and not lay_over({}, task.settings, layer, task.over):
            return task.name
        # lm_eval would take a mapping with the name for the whole task.
        path = catalog.manager().task_index[task.name].yaml_path
    if path is None:
        raise TaskError(f"{task.name}: has no YAML to lay num_fewshot and generation over")
    laid = lay_over(load_yaml(path), task.settings, layer, task.over)
    spec: dict[str, Any] = {**catalog.without_scripts(laid), "task": task.name}
    config = task.config or {}
    if task.splits and config.get("custom_dataset") != ITEM_LOADER:
        return {**spec, "custom_dataset": lambda **_: dict(task.splits)}
    if task.data_files:
        files = {split: [str(path) for path in paths] for split, paths in task.data_files.items()}
        spec["dataset_kwargs"] = {**spec.get("dataset_kwargs", {}), "data_files": files}
    own = spec.get("custom_dataset")
    return {**spec, "custom_dataset": _as_items(own)} if callable(own) else spec


def _as_items(loader: Any) -> Any:  # noqa: ANN401 - a task's own function
    """Let a task's own loader return plain lists of dicts."""

    def load_splits(**options: object) -> dict[str, Any]:
        splits = loader(**options)
        return {name: Items(items) if isinstance(items, list) else items for name, items in splits.items()}

    return load_splits
