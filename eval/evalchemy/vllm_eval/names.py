"""Resolves a name to a task, a group or a tag: of the tasks folder, else of lm_eval's index."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vllm_eval import catalog
from vllm_eval.errors import TaskError
from vllm_eval.sources import read_yaml
from vllm_eval.tasks import index_folder


class TaskNames:
    """Names of one tasks folder and, for those that it lacks, of lm_eval's index, which is read only then."""

    def __init__(self, folder: Path) -> None:
        tasks, _ = index_folder(folder)
        self._tasks = {name: content.config for name, (_, content) in tasks.items()}
        self._groups = _groups(folder)
        self._tags: dict[str, list[str]] = {}
        for name, config in self._tasks.items():
            for tag in listed(config.get("tag")):
                self._tags.setdefault(str(tag), []).append(name)
        self._with_index = True

    def of_folder(self) -> "TaskNames":
        """Return the folder's names alone."""
        local = copy.copy(self)
        local._with_index = False
        return local

    def is_task(self, name: str) -> bool:
        """Whether it is a task; a group of the folder comes before a task of lm_eval's."""
        return name in self._tasks or (not self._is_local(name) and self._kind(name) in {"TASK", "PY_TASK"})

    def is_group(self, name: str) -> bool:
        """Whether it is a group or a tag."""
        return name not in self._tasks and (self._is_local(name) or self._kind(name) in {"GROUP", "TAG"})

    def group(self, name: str) -> Mapping[str, Any] | None:
        """Return a group's YAML; None of a tag."""
        if self._is_local(name):
            return self._groups.get(name)
        return catalog.config_of(name) if self._kind(name) == "GROUP" else None

    def tagged(self, name: str) -> list[str]:
        """Return the tasks of a tag, by name."""
        return sorted(self._tags[name] if name in self._tags else catalog.manager().task_index[name].tags)

    def task(self, name: str) -> Mapping[str, Any]:
        """Return a task's YAML, as far as it is known without loading the task."""
        return self._tasks[name] if name in self._tasks else catalog.config_of(name)

    def _is_local(self, name: str) -> bool:
        return name in self._groups or name in self._tags

    def _kind(self, name: str) -> str:
        if not self._with_index:
            return ""
        entry = catalog.manager().task_index.get(name)
        return entry.kind.name if entry is not None else ""


def listed(value: Any) -> list[Any]:  # noqa: ANN401 - YAML is any of its types
    """Return a YAML's list; one value alone is a list of one, none is empty."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _groups(folder: Path) -> dict[str, Mapping[str, Any]]:
    groups: dict[str, Mapping[str, Any]] = {}
    for path in sorted(folder.rglob("*.yaml")) if folder.is_dir() else []:
        try:
            config = read_yaml(path).config
        except TaskError:  # told when the tasks are loaded
            continue
        name = config.get("group")
        if not isinstance(name, str) or not isinstance(config.get("task"), list):
            continue
        if name in groups:
            raise TaskError(f"{path}: the group {name!r} is already defined in this folder; rename one")
        groups[name] = config
    return groups
