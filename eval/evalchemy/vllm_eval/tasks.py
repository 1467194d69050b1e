"""Find a task's YAML and data, and give the task a hash that changes with what it asks.

``data_files`` in a task's YAML are relative to the YAML's own folder, so that a
task works from any working directory (lm_eval resolves them against the
process's): :func:`load_tasks` makes them absolute before the engine sees them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vllm_eval.config import TaskSettings
from vllm_eval.errors import TaskError

# The tasks' own loader, beside their YAML files: one item a line. What another
# loader makes of a file, only the engine can know.
LINE_LOADER = "!function utils.load_items"
# lm_eval's names of the one limit of an answer's tokens.
TOKEN_LIMITS = frozenset({"max_gen_toks", "max_tokens", "max_new_tokens", "max_completion_tokens"})
LOCAL_FORMATS = ("json", "csv", "parquet", "text", "arrow")


@dataclass(frozen=True, kw_only=True)
class Task:
    """One enabled task, ready for its engine.

    ``config`` is the YAML with its includes merged and ``!function`` tags as
    text; None for a task that the engine brings itself. ``data_files`` maps a
    split to absolute files. ``expected`` is the number of items that the run
    must score, None when only the engine can know. ``hash`` (SHA-256, hex)
    covers the YAML, the functions it names, the data, the limit and the API.
    """

    name: str
    settings: TaskSettings
    config: Mapping[str, Any] | None
    yaml_path: Path | None
    data_files: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    limit: int | None
    expected: int | None
    hash: str


class _Loader(yaml.SafeLoader):
    """YAML as lm_eval reads it, with ``!function`` left as text."""


def _function_as_text(_: yaml.SafeLoader, node: yaml.Node) -> str:
    return f"!function {node.value}"


_Loader.add_constructor("!function", _function_as_text)


def load_tasks(enabled: Mapping[str, TaskSettings], folder: Path, *, limit: int | None, api: str) -> list[Task]:
    """Resolve all enabled tasks.

    A task without a YAML in ``folder`` is left to its engine to know.

    Raises
    ------
    TaskError
        With all problems of all tasks at once: unreadable YAML, two tasks of
        one name, a missing or empty data file, a line that is not JSON.
    """
    index, found = index_folder(folder)
    tasks = []
    for name, settings in enabled.items():
        try:
            tasks.append(_load(name, settings, index.get(name), limit=limit, api=api))
        except TaskError as error:
            found.append(str(error))
    if found:
        raise TaskError.of(str(folder), found)
    return tasks


def index_folder(folder: Path) -> tuple[dict[str, tuple[Path, dict[str, Any]]], list[str]]:
    """Read every task YAML under ``folder``.

    Returns
    -------
    tuple
        Task name to (path, merged content); and the problems found.
    """
    index: dict[str, tuple[Path, dict[str, Any]]] = {}
    found: list[str] = []
    for path in sorted(folder.rglob("*.yaml")) if folder.is_dir() else []:
        try:
            config = read_yaml(path)
        except TaskError as error:
            found.append(str(error))
            continue
        name = config.get("task")
        if not isinstance(name, str):
            continue
        if name in index:
            found.append(f"{path}: the task {name!r} is already defined in {index[name][0]}; rename one")
        else:
            index[name] = (path, config)
    return index, found


def read_yaml(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read one YAML with its ``include`` files merged under it, as lm_eval does."""
    path = path.resolve()
    if path in seen:
        raise TaskError(f"{path}: includes itself")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TaskError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise TaskError(f"{path}: must be a mapping, is {type(content).__name__}")
    includes = content.pop("include", [])
    merged: dict[str, Any] = {}
    for include in includes if isinstance(includes, list) else [includes]:
        merged.update(read_yaml(path.parent / str(include), (*seen, path)))
    return {**merged, **content}


def lay_over(config: Mapping[str, Any], settings: TaskSettings) -> dict[str, Any]:
    """Return a task's YAML with the settings of eval_config.json laid over it.

    A token limit takes the place of the YAML's, whatever its name there.
    """
    merged = dict(config)
    if settings.num_fewshot is not None:
        merged["num_fewshot"] = settings.num_fewshot
    if settings.generation:
        given = config.get("generation_kwargs") or {}
        replaced = TOKEN_LIMITS if TOKEN_LIMITS & settings.generation.keys() else frozenset()
        kept = {key: value for key, value in given.items() if key not in replaced}
        merged["generation_kwargs"] = {**kept, **settings.generation}
    return merged


def _load(
    name: str, settings: TaskSettings, entry: tuple[Path, dict[str, Any]] | None, *, limit: int | None, api: str
) -> Task:
    limits = [value for value in (settings.limit, limit) if value is not None]
    least = min(limits) if limits else None
    if entry is None:
        over = lay_over({}, settings)
        told = {"task": name, "engine": settings.engine, "limit": least, "api": api, **({"over": over} if over else {})}
        digest = _digest({**told, **_chosen(settings)})
        return Task(
            name=name, settings=settings, config=None, yaml_path=None, limit=least, expected=None, hash=digest
        )  # fmt: skip
    path, config = entry
    config = lay_over(config, settings)
    data_files = _data_files(path, config)
    counts = _count_items(path, config, data_files)
    expected = counts if least is None or counts is None else min(counts, least)
    digest = _digest(
        {
            "config": config,
            "functions": _functions(path, config),
            "data": {split: [_file_hash(file) for file in files] for split, files in data_files.items()},
            "engine": settings.engine,
            "items": expected if expected is not None else least,
            "api": api,
            **_chosen(settings),
        }
    )
    return Task(
        name=name, settings=settings, config=config, yaml_path=path, data_files=data_files, limit=least,
        expected=expected, hash=digest,
    )  # fmt: skip


def _chosen(settings: TaskSettings) -> dict[str, str]:
    """Return what makes the score another number; nothing where the defaults stand, which older baselines rest on."""
    defaults = TaskSettings(enabled=True)
    chosen = {"metric": settings.metric, "filter": settings.filter}
    return {key: value for key, value in chosen.items() if value is not None and value != getattr(defaults, key)}


def _data_files(path: Path, config: Mapping[str, Any]) -> dict[str, tuple[Path, ...]]:
    if config.get("dataset_path") not in LOCAL_FORMATS:
        return {}
    given = (config.get("dataset_kwargs") or {}).get("data_files")
    if given is None:
        raise TaskError(f"{path}: dataset_path is {config['dataset_path']!r}, but dataset_kwargs.data_files is missing")
    splits = given if isinstance(given, dict) else {"train": given}
    result: dict[str, tuple[Path, ...]] = {}
    for split, names in splits.items():
        files = tuple((path.parent / str(name)).resolve() for name in (names if isinstance(names, list) else [names]))
        for file in files:
            if not file.is_file():
                raise TaskError(f"{path}: data_files.{split}: {file} is not there (paths are relative to the YAML)")
        result[str(split)] = files
    return result


def _count_items(path: Path, config: Mapping[str, Any], data_files: Mapping[str, tuple[Path, ...]]) -> int | None:
    """Count the items independently of the engine, so that verification has a second source."""
    split = str(config.get("test_split") or config.get("validation_split"))
    if config.get("dataset_path") != "json" or config.get("process_docs") or split not in data_files:
        return None
    if config.get("custom_dataset") not in {None, LINE_LOADER}:
        return None
    count = 0
    for file in data_files[split]:
        # Not splitlines: JSON strings may hold U+2028 and its like, which end no line of a JSONL file.
        for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), start=1):
            if not line.strip():
                continue
            try:
                json.loads(line)
            except ValueError as error:
                raise TaskError(f"{path}: {file}, line {number}: not JSON: {error}") from None
            count += 1
    if not count:
        raise TaskError(f"{path}: data_files.{split} holds no item")
    return count


def _functions(path: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Hash the Python files beside the YAML that its ``!function`` tags name."""
    names = {word for word in json.dumps(config, default=str).split('"') if word.startswith("!function ")}
    modules = {name.removeprefix("!function ").rpartition(".")[0] for name in names}
    files = {module: path.parent / f"{module.replace('.', '/')}.py" for module in modules}
    return {module: _file_hash(file) for module, file in files.items() if file.is_file()}


def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
