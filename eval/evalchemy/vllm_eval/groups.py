"""Groups and tags: from the names that a configuration enables to the tasks that are asked.

A group is what lm_eval's YAML of it says, or one in the tasks folder; a tag is
all tasks that carry it. lm_eval's own index is read only for a name that the
folder lacks.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from vllm_eval import catalog
from vllm_eval.config import TaskSettings
from vllm_eval.errors import TaskError
from vllm_eval.names import TaskNames, listed
from vllm_eval.tasks import Task

# Names without a YAML in the folder are looked up in the index of this engine only.
_ENGINE: Final = "lm_eval"
# Keys of a group's YAML that say what it is; lm_eval lays every other one over its tasks.
_STRUCTURE: Final = frozenset(
    {"group", "group_alias", "task", "task_alias", "task_list", "aggregate_metric_list", "metadata", "tag", "include"}
)


@dataclass(frozen=True)
class Aggregate:
    """One line of a group's ``aggregate_metric_list``: ``filters`` is None for all."""

    metric: str
    filters: tuple[str, ...] | None
    by_size: bool

    def covers(self, metric: str, name: str | None) -> bool:
        """Whether it is about this metric and this filter; no filter is any."""
        return self.metric == metric and (self.filters is None or name is None or name in self.filters)


@dataclass(frozen=True, kw_only=True)
class TaskGroup:
    """A configured group or tag: one score of many tasks.

    ``by_size``: the score is the mean of all items; else that of the leaves'
    scores. ``aggregates`` says the same of its other metrics.
    """

    name: str
    settings: TaskSettings
    leaves: tuple[str, ...]
    by_size: bool
    aggregates: tuple[Aggregate, ...] = ()

    def hash(self, leaves: Mapping[str, str]) -> str:
        """Return the group's task hash (SHA-256, hex); ``leaves`` maps each leaf to its own."""
        told = {"leaves": {name: leaves[name] for name in self.leaves}, "by_size": self.by_size}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The tasks and groups that a configuration enables.

    ``lines`` are its enabled names in order, each of which gets one verdict;
    ``tasks`` all that is asked, each once; ``over`` the keys that a group's
    YAML lays over a leaf's own.
    """

    lines: Mapping[str, TaskSettings]
    tasks: Mapping[str, TaskSettings]
    groups: Mapping[str, TaskGroup] = field(default_factory=dict)
    over: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def hashes(self, tasks: Sequence[Task]) -> dict[str, str]:
        """Return the task hash of every line."""
        known = {task.name: task.hash for task in tasks}
        return {name: self.groups[name].hash(known) if name in self.groups else known[name] for name in self.lines}


@dataclass(frozen=True)
class _Leaf:
    """A task as one line of the configuration wants it."""

    line: str
    settings: TaskSettings
    over: Mapping[str, Any]


def expand(enabled: Mapping[str, TaskSettings], folder: Path) -> Plan:
    """Replace groups and tags by their tasks.

    Parameters
    ----------
    enabled
        The enabled lines of eval_config.json.
    folder
        The tasks folder.

    Raises
    ------
    TaskError
        With all problems at once: a group that cannot be asked, a task that
        two lines want with different settings.
    """
    names = TaskNames(folder)
    local = names.of_folder()
    groups: dict[str, TaskGroup] = {}
    wanted: dict[str, list[_Leaf]] = {}
    found: list[str] = []
    for name, settings in enabled.items():
        known = names if settings.engine == _ENGINE else local
        if known.is_group(name):
            try:
                groups[name], leaves = _expand(name, settings, known)
            except TaskError as error:
                found.append(str(error))
                continue
        else:
            leaves = {name: _Leaf(name, settings, {})}
            if settings.leaves:
                found.append(f"{name}: leaves is true, but it is no group or tag; remove the key")
        for leaf, as_wanted in leaves.items():
            wanted.setdefault(leaf, []).append(as_wanted)
    found += [problem for leaf, wishes in wanted.items() if (problem := _contradiction(leaf, wishes))]
    if found:
        raise TaskError.of("eval_config.json", found)
    first = {leaf: wishes[0] for leaf, wishes in wanted.items()}
    return Plan(
        lines=enabled,
        tasks={leaf: wish.settings for leaf, wish in first.items()},
        groups=groups,
        over={leaf: wish.over for leaf, wish in first.items() if wish.over},
    )


def _expand(name: str, settings: TaskSettings, names: TaskNames) -> tuple[TaskGroup, dict[str, _Leaf]]:
    config = names.group(name)
    overs: dict[str, Mapping[str, Any]] = {}
    for leaf, over in _leaves(name, names, {}, ()):
        if overs.setdefault(leaf, over) != over:
            raise TaskError(f"{name}: it has {leaf} twice, with different settings; enable its tasks by their names")
    if not overs:
        raise TaskError(f"{name}: is a group without tasks")
    aggregates = _aggregates(name, config or {})
    chosen = _choose(settings, aggregates)
    leaves = {}
    for leaf, over in overs.items():
        own = names.task(leaf)
        # Without keys that the leaf itself sets to the same value: then its hash is the same as without the group.
        other = {key: value for key, value in over.items() if own.get(key) != value}
        leaves[leaf] = _Leaf(name, _leaf_settings(settings, chosen, {**own, **other}), other)
    by_size = next((each.by_size for each in (chosen, *aggregates) if each is not None), True)
    group = TaskGroup(name=name, settings=settings, leaves=tuple(leaves), by_size=by_size, aggregates=aggregates)
    return group, leaves


def _leaves(
    name: str, names: TaskNames, over: Mapping[str, Any], above: tuple[str, ...]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Walk down to the tasks, each with the keys that the groups above lay over it; the outer one wins."""
    if name in above:
        raise TaskError(f"{above[0]}: the group {name!r} is part of itself ({' > '.join(above)})")
    path = (*above, name)
    if names.is_task(name):
        yield name, over
    elif not names.is_group(name):
        raise TaskError(f"{path[0]}: its YAML names {name!r}, which is no task, group or tag")
    elif (config := names.group(name)) is None:
        for task in names.tagged(name):
            yield task, over
    else:
        yield from _members(config, names, over, path)


def _members(
    config: Mapping[str, Any], names: TaskNames, over: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    merged = {**_over(path[0], config), **over}
    for member in listed(config.get("task")):
        if not isinstance(member, Mapping):
            yield from _leaves(str(member), names, merged, path)
            continue
        given = member.get("group", member.get("task"))
        if "group" in member and not (isinstance(given, str) and names.is_group(given)):
            yield from _members(member, names, merged, (*path, str(given)))
        elif isinstance(given, str) and (names.is_task(given) or names.is_group(given)):
            yield from _leaves(given, names, {**merged, **_over(path[0], member)}, path)
        else:
            raise TaskError(
                f"{path[0]}: its YAML defines tasks in place, which have no name of their own to be asked by"
            )


def _over(group: str, config: Mapping[str, Any]) -> dict[str, Any]:
    over = {key: value for key, value in config.items() if key not in _STRUCTURE}
    if "!function" in json.dumps(over, default=str) or any(catalog.modules_of(over)):
        raise TaskError(f"{group}: its YAML lays a function over its tasks, which is not done here; enable its tasks")
    return over


def _aggregates(name: str, config: Mapping[str, Any]) -> tuple[Aggregate, ...]:
    given = config.get("aggregate_metric_list") or []
    found = []
    for entry in listed(given):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("metric"), str):
            raise TaskError(f"{name}: aggregate_metric_list has {entry!r}, which names no metric")
        aggregation = entry.get("aggregation", "mean")
        if aggregation != "mean":
            raise TaskError(f"{name}: aggregate_metric_list has aggregation {aggregation!r}; only mean can be tested")
        filters = entry.get("filter_list")
        found.append(
            Aggregate(
                metric=entry["metric"],
                filters=None if filters is None else tuple(map(str, listed(filters))),
                by_size=bool(entry.get("weight_by_size", True)),
            )
        )
    return tuple(found)


def _choose(settings: TaskSettings, aggregates: Sequence[Aggregate]) -> Aggregate | None:
    """Choose what the group's score is: what the settings say, else exact match, else the first metric in 0..1.

    None: the YAML lists no metrics, or not the one that the settings say.
    """
    if settings.metric is not None:
        fitting = [each for each in aggregates if each.metric == settings.metric]
    else:
        usable = [each for each in aggregates if catalog.why_out_of_range(each.metric) is None]
        fitting = [each for each in usable if each.metric == catalog.DEFAULT_METRIC] or usable
    covering = [each for each in fitting if each.covers(fitting[0].metric, settings.filter)]
    return next(iter([*covering, *fitting]), None)


def _leaf_settings(settings: TaskSettings, chosen: Aggregate | None, config: Mapping[str, Any]) -> TaskSettings:
    """Return a group's settings as a leaf's; metric and filter only where they are not the leaf's own."""
    update: dict[str, Any] = {"leaves": False}
    if chosen is not None and chosen.metric not in {settings.metric, catalog.own_metric(config)}:
        update["metric"] = chosen.metric
    wanted = chosen.filters[0] if chosen is not None and chosen.filters else None
    if settings.filter is None and wanted not in {None, catalog.filters(config)[0]}:
        update["filter"] = wanted
    return settings.model_copy(update=update)


def _contradiction(leaf: str, wishes: Sequence[_Leaf]) -> str | None:
    first = wishes[0]
    for other in wishes[1:]:
        one, two = ({**wish.settings.model_dump(), **wish.over} for wish in (first, other))
        key = next((key for key in {**one, **two} if one.get(key) != two.get(key)), None)
        if key is not None:
            return (
                f"{leaf}: {first.line} wants {key} {one.get(key)!r} and {other.line} wants {two.get(key)!r}, but it is "
                "asked once; give both the same, or disable one of them"
            )
    return None
