"""Resolve a task: its YAML, data and settings, with a hash that changes with what it asks.

Paths in a task's YAML are relative to the YAML's own folder, so that a task
works from any working directory (lm_eval resolves them against the process's).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from vllm_eval import catalog
from vllm_eval.asking import Asking, laid_over
from vllm_eval.catalog import DEFAULT_METRIC
from vllm_eval.config import TaskSettings
from vllm_eval.data.task_data import TaskData
from vllm_eval.errors import TaskError
from vllm_eval.items import Items
from vllm_eval.readers import read_items
from vllm_eval.sources import LocalData, TaskYaml, find_data, function_hashes, read_yaml

# A part of every hash, to be raised when the runner itself makes other prompts
# or other scores of the same files: scores of before and after are then not
# compared. 2: items as their files have them, thoughts cut, all stops sent.
RULES: Final = 2
# A YAML's keys that may hold just the name of a field.
_FIELD_KEYS: Final = ("doc_to_text", "doc_to_target", "doc_to_choice")
_SPLIT_KEYS: Final = ("test_split", "validation_split", "training_split", "fewshot_split")


@dataclass(frozen=True, kw_only=True)
class Task:
    """One enabled task, ready for its engine.

    ``config`` is the YAML with its includes merged and ``!function`` tags as
    text; None for a task that the engine brings itself. ``data_files`` maps a
    split to absolute files, ``splits`` to their items, as far as the runner
    reads them itself. ``expected`` is the number of items that the run
    must score, None when only the engine can know. ``hash`` (SHA-256, hex)
    covers the YAML, the functions it names, the data, the limit, the API and
    the model's own block, which is ``asking``. ``over``
    are keys that a group lays over the YAML, below both.
    ``data`` are the items that a bundle or a hub gave (:meth:`with_data`).
    """

    name: str
    settings: TaskSettings
    config: Mapping[str, Any] | None
    yaml_path: Path | None
    data_files: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    splits: Mapping[str, Items] = field(default_factory=dict, repr=False, compare=False)
    limit: int | None
    expected: int | None
    hash: str
    asking: Asking = field(default_factory=Asking)
    api: str = "completions"
    yaml_generation: Mapping[str, Any] = field(default_factory=dict)
    over: Mapping[str, Any] = field(default_factory=dict)
    data: TaskData | None = field(default=None, repr=False, compare=False)

    @property
    def generation(self) -> dict[str, Any]:
        """The generation settings with which the task is asked; of an engine's own task, without those of its YAML."""
        layers = (self.asking.layer(self.api), self.settings.generation or {})
        return laid_over(laid_over(self.yaml_generation, layers[0]), layers[1])

    @property
    def samples(self) -> int:
        """How often each item is asked."""
        return self.settings.samples

    @property
    def metric(self) -> str:
        """The metric that is the task's score."""
        return self.settings.metric or DEFAULT_METRIC

    @property
    def items(self) -> Items | None:
        """The items that are scored, None where only the engine knows them (``process_docs``, a hub's data)."""
        config = self.config or {}
        return None if config.get("process_docs") else self.splits.get(_eval_split(config))

    @property
    def wants_data(self) -> bool:
        """Whether the items are on no local file, so that a bundle or a hub must give them."""
        if self.settings.engine != "lm_eval" or self.data is not None:
            return False
        if self.config is None:
            return True
        return not self.data_files and not self.config.get("custom_dataset") and bool(self.config.get("dataset_path"))

    def with_data(self, data: TaskData) -> "Task":
        """Return the task with its items; their digest becomes a part of the hash."""
        count = len(data.items)
        return replace(
            self,
            data=data,
            expected=count if self.limit is None else min(count, self.limit),
            hash=_digest({"task": self.hash, "data": data.digest}),
        )


def load_tasks(
    enabled: Mapping[str, TaskSettings],
    folder: Path,
    *,
    limit: int | None,
    api: str,
    asking: Asking | None = None,
    over: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Task]:
    """Resolve all enabled tasks, as they are asked of a model with this block.

    A task without a YAML in ``folder`` is left to its engine to know. ``over``
    maps a task to the keys that its group lays over its YAML.

    Raises
    ------
    TaskError
        With all problems of all tasks at once: unreadable YAML, two tasks of
        one name, a missing, empty or unreadable data file.
    """
    index, found = index_folder(folder)
    tasks = []
    for name, settings in enabled.items():
        try:
            laid = (over or {}).get(name, {})
            model = asking or Asking()
            tasks.append(_load(name, settings, index.get(name), limit=limit, api=api, asking=model, over=laid))
        except TaskError as error:
            found.append(str(error))
    if found:
        raise TaskError.of(str(folder), found)
    return tasks


def index_folder(folder: Path) -> tuple[dict[str, tuple[Path, TaskYaml]], list[str]]:
    """Read every task YAML under ``folder``.

    Returns
    -------
    tuple
        Task name to (path, content); and the problems found.
    """
    index: dict[str, tuple[Path, TaskYaml]] = {}
    found: list[str] = []
    for path in sorted(folder.rglob("*.yaml")) if folder.is_dir() else []:
        try:
            content = read_yaml(path)
        except TaskError as error:
            found.append(str(error))
            continue
        name = content.config.get("task")
        if not isinstance(name, str):
            continue
        if name in index:
            found.append(f"{path}: the task {name!r} is already defined in {index[name][0]}; rename one")
        else:
            index[name] = (path, content)
    return index, found


def lay_over(
    config: Mapping[str, Any],
    settings: TaskSettings,
    generation: Mapping[str, Any],
    over: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a task's YAML with what lies over it: its group's keys, the model's ``generation``, the settings."""
    merged = {**config, **(over or {})}
    if settings.num_fewshot is not None:
        merged["num_fewshot"] = settings.num_fewshot
    for layer in (generation, settings.generation):
        if layer:
            merged["generation_kwargs"] = laid_over(merged.get("generation_kwargs") or {}, layer)
    return merged


def _load(
    name: str,
    settings: TaskSettings,
    entry: tuple[Path, TaskYaml] | None,
    *,
    limit: int | None,
    api: str,
    asking: Asking,
    over: Mapping[str, Any],
) -> Task:
    settings = _with_metric(name, settings, entry[1].config if entry else None, over)
    limits = [value for value in (settings.limit, limit) if value is not None]
    least = min(limits) if limits else None
    if entry is None:
        laid = lay_over({}, settings, {}, over)
        told = {"task": name, "engine": settings.engine, "limit": least, "api": api, "rules": RULES}
        digest = _digest({**told, **({"over": laid} if laid else {}), **_chosen(settings), **_asked(asking)})
        return Task(
            name=name, settings=settings, config=None, yaml_path=None, limit=least, expected=None, hash=digest,
            asking=asking, api=api, yaml_generation=over.get("generation_kwargs") or {}, over=over,
        )  # fmt: skip
    path, content = entry
    config = lay_over(content.config, settings, asking.layer(api), over)
    data = find_data(path, config)
    splits = {split: read_items(files, data.form) for split, files in data.files.items()} if data.form else {}
    count = _count(path, config, data, splits)
    _check_fields(path, config, settings, splits)
    expected = count if least is None or count is None else min(count, least)
    digest = _digest(
        {
            "config": config,
            "functions": function_hashes(content.functions),
            "data": data.hashed,
            "engine": settings.engine,
            "items": expected if expected is not None else least,
            "api": api,
            **_chosen(settings),
            **_asked(asking),
            "rules": RULES,
        }
    )
    return Task(
        name=name, settings=settings, config=config, yaml_path=path, data_files=data.files, splits=splits, limit=least,
        expected=expected, hash=digest, asking=asking, api=api,
        yaml_generation={**content.config, **over}.get("generation_kwargs") or {}, over=over,
    )  # fmt: skip


def _with_metric(
    name: str, settings: TaskSettings, config: Mapping[str, Any] | None, over: Mapping[str, Any]
) -> TaskSettings:
    """Choose the task's own metric where the configuration names none."""
    if settings.metric is not None or settings.engine != "lm_eval":
        return settings
    known = config if config is not None else catalog.config_of(name)
    return settings.model_copy(update={"metric": catalog.own_metric({**known, **over})})


def _asked(asking: Asking) -> dict[str, Any]:
    """Return the model's block, if it has one: another block is another thing that was asked."""
    return {"asked": asking.told} if asking.told else {}


def _chosen(settings: TaskSettings) -> dict[str, Any]:
    """Return metric, filter and samples that are not the first choice: with others, the score is another number."""
    chosen = {"metric": settings.metric, "filter": settings.filter}
    named = {key: value for key, value in chosen.items() if value is not None and value != DEFAULT_METRIC}
    return {**named, **({"samples": settings.samples} if settings.samples > 1 else {})}


def _eval_split(config: Mapping[str, Any]) -> str:
    return str(config.get("test_split") or config.get("validation_split"))


def _count(path: Path, config: Mapping[str, Any], data: LocalData, splits: Mapping[str, Items]) -> int | None:
    """Count the items independently of the engine, so that verification has a second source."""
    if not splits:
        return None
    for key in _SPLIT_KEYS:
        if config.get(key) is not None and config[key] not in splits:
            raise TaskError(f"{path}: {key} is {config[key]!r}, but the data has {', '.join(splits)}; name one of them")
    empty = next((split for split, items in splits.items() if not items), None)
    if empty is not None:
        files = ", ".join(str(file) for file in data.files[empty])
        raise TaskError(f"{path}: data_files.{empty} holds no item ({files})")
    items = splits.get(_eval_split(config))
    return None if items is None or config.get("process_docs") else len(items)


def _check_fields(
    path: Path, config: Mapping[str, Any], settings: TaskSettings, splits: Mapping[str, Items]
) -> None:  # fmt: skip
    """Refuse items that lack a field which the YAML or the configuration names."""
    items = splits.get(_eval_split(config))
    if items is None or config.get("process_docs"):
        return
    fields = items.features
    for key in _FIELD_KEYS:
        name = config.get(key)
        if not isinstance(name, str) or not name.isidentifier() or config.get("process_results"):
            continue
        if name not in fields:
            # lm_eval would take the name itself for the text of every item.
            raise TaskError(f"{path}: {key} is {name!r}, but no item has that field; they have {', '.join(fields)}")
        lacking = items.lacking(name)
        if lacking is not None:
            raise TaskError(f"{lacking}: the item has no {name!r}, which {key} of {path} names; add it to the item")
    if settings.cluster is not None and settings.cluster not in fields:
        raise TaskError(
            f"{path}: no item has the field {settings.cluster!r} that the task's cluster names; "
            f"the items have {', '.join(fields)}"
        )


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
