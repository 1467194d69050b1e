"""The files that a task rests on: its YAML with what that includes, its functions and its data."""

import ast
import hashlib
import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from vllm_eval.errors import TaskError
from vllm_eval.readers import OPTIONS, SUFFIXES, Format
from vllm_eval.strict import UniqueKeyLoader

# The tasks' own loader, beside their YAML files.
ITEM_LOADER: Final = "!function utils.load_items"
# Options of datasets.load_dataset that say how it works, and change no item.
_HOW: Final = frozenset(
    {"cache_dir", "download_mode", "keep_in_memory", "num_proc", "trust_remote_code", "verification_mode"}
)
# The words by which Hugging Face's datasets finds the split of a file in a folder.
_SPLIT_WORDS: Final[Mapping[str, frozenset[str]]] = {
    "train": frozenset({"train", "training"}),
    "validation": frozenset({"validation", "valid", "val", "dev"}),
    "test": frozenset({"test", "testing", "eval", "evaluation"}),
}


@dataclass(frozen=True)
class TaskYaml:
    """A YAML with its includes merged under it, as lm_eval reads it; ``!function`` tags are text.

    ``functions`` are the folder and name of every tag: lm_eval looks for the
    module beside the file that names it.
    """

    config: dict[str, Any]
    functions: frozenset[tuple[Path, str]]


@dataclass(frozen=True)
class LocalData:
    """A task's local data: split to files, how to read them (None: only the task's own loader knows), hash inputs."""

    files: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    form: Format | None = None
    hashed: Mapping[str, Any] = field(default_factory=dict)


def read_yaml(path: Path, seen: tuple[Path, ...] = ()) -> TaskYaml:
    """Read one YAML with its ``include`` files merged under it, as lm_eval does.

    Raises
    ------
    TaskError
        A file cannot be read, holds a key twice, or includes itself.
    """
    path = path.resolve()
    if path in seen:
        raise TaskError(f"{path}: includes itself")
    functions: set[tuple[Path, str]] = set()

    class Loader(UniqueKeyLoader):
        """YAML whose functions are noted with this file's folder."""

    def function_as_text(_: yaml.SafeLoader, node: yaml.Node) -> str:
        functions.add((path.parent, str(node.value)))
        return f"!function {node.value}"

    Loader.add_constructor("!function", function_as_text)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TaskError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise TaskError(f"{path}: must be a mapping, is {type(content).__name__}")
    includes = content.pop("include", [])
    merged: dict[str, Any] = {}
    for include in includes if isinstance(includes, list) else [includes]:
        included = read_yaml(path.parent / str(include), (*seen, path))
        merged.update(included.config)
        functions |= included.functions
    return TaskYaml({**merged, **content}, frozenset(functions))


def find_data(path: Path, config: Mapping[str, Any]) -> LocalData:
    """Find the local files of a task's data; nothing for data that a hub has.

    Raises
    ------
    TaskError
        A file is missing, or an option would be obeyed by nobody.
    """
    name, loader = config.get("dataset_path"), config.get("custom_dataset")
    options = dict(config.get("dataset_kwargs") or {})
    given = options.pop("data_files", None)
    if name in OPTIONS:
        if given is None:
            raise TaskError(f"{path}: dataset_path is {name!r}, but dataset_kwargs.data_files is missing")
        files = _named_files(path, given, path.parent)
        return LocalData(files, _form(path, str(name), options, loader), _file_hashes(files))
    folder = _folder(path, name)
    if folder is None:
        return LocalData()
    content = {str(file.relative_to(folder)): file_hash(file) for file in _all_files(folder)}
    if loader is not None:
        return LocalData(hashed=content)
    files = _named_files(path, given, folder) if given is not None else _folder_files(path, folder, config)
    kinds = {_kind(file) for group in files.values() for file in group}
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind is None:
        raise TaskError(
            f"{path}: dataset_path is the folder {folder}, whose files are not all of one kind out of "
            f"{', '.join(SUFFIXES)}; name them in dataset_kwargs.data_files"
        )
    return LocalData(files, _form(path, kind, options, None), content)


def _form(path: Path, name: str, options: Mapping[str, Any], loader: object) -> Format | None:
    if loader not in {None, ITEM_LOADER}:
        return None
    if loader == ITEM_LOADER:
        name = "json"
    unknown = sorted(set(options) - OPTIONS[name] - _HOW)
    if unknown:
        known = ", ".join(sorted(OPTIONS[name])) or "none"
        raise TaskError(
            f"{path}: dataset_kwargs.{unknown[0]} is not known for {name!r} files (known besides data_files: {known}); "
            "remove it, or load the items with a custom_dataset function"
        )
    return Format(name=name, options={key: value for key, value in options.items() if key not in _HOW})


def _named_files(path: Path, given: Any, base: Path) -> dict[str, tuple[Path, ...]]:  # noqa: ANN401 - any YAML
    splits = given if isinstance(given, dict) else {"train": given}
    result: dict[str, tuple[Path, ...]] = {}
    for split, names in splits.items():
        found: list[Path] = []
        for name in names if isinstance(names, list) else [names]:
            if "://" in str(name):
                raise TaskError(
                    f"{path}: data_files.{split}: {name} is an address; the runner reads local files only, "
                    "so that the data cannot change unseen: download it, and name the file"
                )
            # Without resolve(), which would take a hub cache's links for files of other names.
            file = base / str(name)
            matches = [file] if file.is_file() else sorted(base.glob(str(name))) if _is_pattern(str(name)) else []
            if not matches:
                raise TaskError(f"{path}: data_files.{split}: {file} is not there (paths are relative to {base})")
            found += [match.resolve() for match in matches if match.is_file()]
        result[str(split)] = tuple(found)
    return result


def _is_pattern(name: str) -> bool:
    return any(mark in name for mark in "*?[") and not Path(name).is_absolute()


def _folder(path: Path, name: object) -> Path | None:
    """Return the local folder that ``dataset_path`` names: absolute, beside the YAML, or in the working directory."""
    if not isinstance(name, str) or not name:
        return None
    for folder in (path.parent / name, Path(name)):
        if folder.is_dir():
            return folder.resolve()
    if Path(name).is_absolute() or name.startswith("."):
        raise TaskError(f"{path}: dataset_path is {name!r}, which is no folder; set it to one that is there")
    return None


def _all_files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not any(part.startswith((".", "__")) for part in file.relative_to(folder).parts):
            yield file


def _kind(file: Path) -> str | None:
    suffixes = [suffix for suffix in file.suffixes if suffix not in {".gz", ".bz2", ".xz"}]
    return SUFFIXES.get(suffixes[-1]) if suffixes else None


def _folder_files(path: Path, folder: Path, config: Mapping[str, Any]) -> dict[str, tuple[Path, ...]]:
    """Find the files of each split: as the folder's README says, else by the words in their names."""
    card = folder / "README.md"
    if card.is_file():
        configs = _card_configs(card)
        if configs:
            return _named_files(path, _chosen(path, folder, configs, config.get("dataset_name")), folder)
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        raise TaskError(
            f"{path}: {folder} was written by save_to_disk; set dataset_path to 'arrow' and name its "
            "*.arrow files in dataset_kwargs.data_files"
        )
    splits: dict[str, list[Path]] = {}
    for file in _all_files(folder):
        if _kind(file) is None or file == card:
            continue
        words = set(re.split(r"[^a-z]+", str(file.relative_to(folder)).lower()))
        split = next((split for split, names in _SPLIT_WORDS.items() if words & names), "train")
        splits.setdefault(split, []).append(file)
    if not splits:
        raise TaskError(f"{path}: dataset_path is the folder {folder}, which has no file of {', '.join(SUFFIXES)}")
    return {split: tuple(files) for split, files in splits.items()}


def _card_configs(card: Path) -> list[dict[str, Any]]:
    match = re.match(r"---\s*\n(.*?)\n---\s*\n", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    try:
        header = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError:
        return []
    configs = header.get("configs") if isinstance(header, dict) else None
    return [entry for entry in configs or [] if isinstance(entry, dict) and "data_files" in entry]


def _chosen(path: Path, folder: Path, configs: Sequence[Mapping[str, Any]], name: object) -> Any:  # noqa: ANN401
    names = [str(entry.get("config_name", "default")) for entry in configs]
    wanted = str(name) if name is not None else "default" if "default" in names else names[0]
    if wanted not in names or (name is None and len(names) > 1 and "default" not in names):
        raise TaskError(f"{path}: {folder} has the configurations {', '.join(names)}; set dataset_name to one of them")
    files = configs[names.index(wanted)]["data_files"]
    if isinstance(files, list) and all(isinstance(entry, dict) for entry in files):
        return {str(entry["split"]): entry["path"] for entry in files}
    return files


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _file_hashes(files: Mapping[str, Iterable[Path]]) -> dict[str, list[str]]:
    return {split: [file_hash(file) for file in group] for split, group in files.items()}


def function_hashes(functions: Iterable[tuple[Path, str]]) -> dict[str, str]:
    """Hash the Python files that ``!function`` tags name, and what those rest on.

    That is: the modules that they import from their own folder, and the files
    beside them whose names stand in them as text. What else a function reads
    cannot be known from outside.

    Returns
    -------
    dict
        Module (with its file's place where several have one name) to SHA-256.
    """
    found: dict[Path, None] = {}
    for folder, name in sorted(functions):
        module = name.rpartition(".")[0]
        file = folder / f"{module.replace('.', '/')}.py"
        _follow(file.resolve() if file.is_file() else _importable(module), found)
    hashes: dict[str, str] = {}
    for file in found:
        label = file.stem if file.suffix == ".py" else file.name
        hashes[label if label not in hashes else f"{label} ({len(hashes)})"] = file_hash(file)
    return hashes


def _importable(module: str) -> Path | None:
    """Find a module that is installed; lm_eval's own are part of the engine's version."""
    try:
        spec = importlib.util.find_spec(module) if module and not module.startswith("lm_eval") else None
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def _follow(file: Path | None, found: dict[Path, None]) -> None:
    if file is None or file in found or not file.is_file():
        return
    found[file] = None
    if file.suffix != ".py":
        return
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return  # lm_eval will say so when it imports it
    for node in ast.walk(tree):
        for other in _named_in(node, file.parent):
            _follow(other.resolve(), found)


def _named_in(node: ast.AST, folder: Path) -> Iterator[Path]:
    """Yield the files of ``folder`` that a part of a Python file names: a module that it imports, or a text."""
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [node.module or "", *(f"{node.module or ''}.{alias.name}".strip(".") for alias in node.names)]
    elif isinstance(node, ast.Constant) and _may_be_a_name(node.value):
        yield folder / str(node.value)
    for module in (folder / name.replace(".", "/") for name in names if name):
        yield module.with_suffix(".py")
        yield module / "__init__.py"


def _may_be_a_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) < 256 and value.isprintable()
