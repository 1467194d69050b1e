"""lm_eval's own tasks, groups and tags, judged by their YAML before anything is fetched.

lm_eval's own index is read, which takes seconds of CPU and no network. It is
read once a process, and only if a task without a YAML of ours is enabled.
"""

import ast
import difflib
import fnmatch
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm_eval.offline import set_environment

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

DEFAULT_METRIC = "exact_match"
# The metric that lm_eval uses if a YAML has no metric_list.
_UNLISTED = {"multiple_choice": ("acc", "acc_norm"), "loglikelihood": ("perplexity", "acc")}

# Metrics that are no share of right answers. A score is published as 0..1, where
# more is better, and its error bars and tests rest on that. Patterns of whole names.
_HUNDRED = "is 0 to 100"
_SIGNED = "can be below 0"
OUT_OF_RANGE = {
    r"bleu|chrf|smoothed_bleu_4": f"{_HUNDRED}, of a whole corpus and not of single items",
    r"ter|wer": "counts edits: lower is better, and it can be above 1",
    r"(bleu|rouge1|rouge2|rougeL)_max": _HUNDRED,
    r"(bleu|rouge1|rouge2|rougeL)_diff": _SIGNED,
    r"(pearsonr|spearmanr|mcc)": _SIGNED,
    r"(word_|byte_)?perplexity|bits_per_byte": "has no upper bound, and lower is better",
    r"brier_score": "can be above 1, and lower is better",
    r"eqbench|percent_parseable": _HUNDRED,
    r"(amb|disamb)_bias_score.*": _SIGNED,
    r"average_len": "is a length",
}


class Reason(StrEnum):
    """Why a task does not run here."""

    UNKNOWN = "unknown name"
    PERPLEXITY = "is perplexity, which is no share of right answers"
    CODE = "runs code that the model writes"
    MEDIA = "needs images or sound"
    CLASS = "is a Python class"
    METRIC = "no metric in 0..1"
    SCRIPT = "needs a metric's script from the hub"
    CHOOSE_METRIC = "the task's metric must be set"
    PACKAGE = "needs a package that is not installed"


# What a task may request from a model: a text, or the log-probabilities of given texts.
KINDS = frozenset({"generate_until", "multiple_choice", "loglikelihood"})


@dataclass(frozen=True)
class Refusal:
    """Why a name cannot run, as a kind to count and a sentence with the cure."""

    reason: Reason
    text: str


@cache
def manager() -> "TaskManager":
    """Return lm_eval's task manager with the index of all that it brings; made once a process."""
    set_environment()  # before lm_eval is imported: it reads its caches' places then
    from lm_eval.tasks import TaskManager

    return TaskManager(include_defaults=True)


def refuse(name: str, metric: str | None, over: Mapping[str, Any] | None = None) -> Refusal | None:
    """Judge one name by lm_eval's index; None if it can run with this metric.

    Parameters
    ----------
    name : str
        A task of lm_eval's own, no group or tag.
    metric : str or None
        The metric that is to be the task's score; None for the task's own.
    over : mapping or None
        Keys that a group lays over the task's YAML.
    """
    entry = manager().task_index.get(name)
    if entry is None:
        return Refusal(Reason.UNKNOWN, f"is neither in the tasks folder nor a task of lm_eval's{near(name)}")
    config = {**(entry.cfg or {}), **(over or {})}
    if entry.kind.name == "PY_TASK":
        return Refusal(Reason.CLASS, "is a Python class, of which nothing can be known before it runs")
    chosen = metric if metric is not None else own_metric(config)
    return _refuse_kind(config) or _refuse_metric(config, chosen) or _refuse_script(config) or _refuse_packages(config)


def members(name: str) -> list[str]:
    """Return the tasks of a group or tag, groups of groups included, each once and in order; [name] of a task."""
    found: dict[str, None] = {}
    _collect(name, found, set())
    return list(found)


def select(pattern: str | None) -> dict[str, Refusal | None]:
    """Judge the tasks that a pattern means: the leaves of a group or tag of that name, else all names with it.

    Parameters
    ----------
    pattern : str or None
        A name, part of a name, or with ``*`` and ``?`` a whole name; None for all tasks.

    Returns
    -------
    dict
        Task name to why it cannot run with its own metric, None if it can; in the order of the names.
    """
    index = manager().task_index
    if pattern is not None and pattern in index:
        names = members(pattern)
    else:
        wild = pattern if pattern and set(pattern) & set("*?") else f"*{pattern or ''}*"
        names = sorted(
            name
            for name, entry in index.items()
            if entry.kind.name in {"TASK", "PY_TASK"} and fnmatch.fnmatchcase(name, wild)
        )
    return {name: refuse(name, None) for name in names}


def metrics(config: Mapping[str, Any]) -> list[str]:
    """Return the names of a task's metrics, as lm_eval names them in its results."""
    listed = config.get("metric_list")
    if listed is None:
        return list(_UNLISTED.get(config.get("output_type", ""), (DEFAULT_METRIC,)))
    # A metric that is a function of the task's own is named by the function.
    return [str(entry["metric"]).rpartition(".")[2] for entry in listed]


def filters(config: Mapping[str, Any]) -> list[str]:
    """Return the names of a task's filters, the first of which judges unless another is chosen."""
    listed = config.get("filter_list") or [{"name": "none"}]
    return [str(entry.get("name")) for entry in listed]


def own_metric(config: Mapping[str, Any]) -> str:
    """Return a task's score where no metric is chosen: exact match, else accuracy, else its first metric in 0..1."""
    names = [name for name in metrics(config) if why_out_of_range(name) is None]
    return next((name for name in (DEFAULT_METRIC, "acc") if name in names), names[0] if names else DEFAULT_METRIC)


def config_of(name: str) -> Mapping[str, Any]:
    """Return the YAML of a task of lm_eval's own; empty for a name that is none."""
    entry = manager().task_index.get(name)
    return (entry.cfg if entry is not None else None) or {}


def why_out_of_range(metric: str) -> str | None:
    """Say why a metric is not a share of right answers, None if it may be one."""
    return next((why for pattern, why in OUT_OF_RANGE.items() if re.fullmatch(pattern, metric)), None)


def without_scripts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's YAML whose metrics of choices are not fetched from the hub: lm_eval computes them itself."""
    listed = config.get("metric_list")
    if config.get("output_type") != "multiple_choice" or not listed:
        return dict(config)
    kept = [{key: value for key, value in entry.items() if key != "hf_evaluate"} for entry in listed]
    return {**config, "metric_list": kept}


def missing_packages(config: Mapping[str, Any]) -> list[str]:
    """Return the packages that a task's functions import and that are not installed; runs nothing of the task."""
    return sorted({package for module in modules_of(config) for package in _missing(module)})


def near(name: str) -> str:
    """Return the end of a message: names that are like an unknown one."""
    known = list(manager().task_index)
    name = name.lower()
    parts = [other for other in known if name and name in other.lower()]
    near = list(dict.fromkeys(sorted(parts, key=len)[:4] + difflib.get_close_matches(name, known, n=4)))
    return f"; near names: {', '.join(near)}" if near else "; `vllm-eval tasks PATTERN` lists its names"


def _collect(name: str, found: dict[str, None], seen: set[str]) -> None:
    if name in seen:
        return
    seen.add(name)
    entry = manager().task_index.get(name)
    if entry is None:
        return
    if entry.kind.name == "TAG":
        for member in sorted(entry.tags):
            _collect(member, found, seen)
    elif entry.kind.name == "GROUP":
        listed = (entry.cfg or {}).get("task") or []
        for member in listed if isinstance(listed, list) else [listed]:
            if isinstance(member, Mapping):
                # A group in place, or a task with settings of its own.
                _collect_inline(member, found, seen)
            else:
                _collect(str(member), found, seen)
    else:
        found[name] = None


def _collect_inline(member: Mapping[str, Any], found: dict[str, None], seen: set[str]) -> None:
    listed = member.get("task") or []
    for name in listed if isinstance(listed, list) else [listed]:
        if isinstance(name, Mapping):
            _collect_inline(name, found, seen)
        else:
            _collect(str(name), found, seen)


def refuse_output(kind: object) -> str:
    """Say why an output type is not run."""
    if kind == "loglikelihood_rolling":
        return (
            "output_type 'loglikelihood_rolling' is perplexity: no share of right answers, so no score in 0..1 that a "
            "verdict or an alert could compare"
        )
    return f"output_type {kind!r} is unknown; {', '.join(sorted(KINDS))} are run"


def _refuse_kind(config: Mapping[str, Any]) -> Refusal | None:
    kind = config.get("output_type", "generate_until")
    if kind not in KINDS:
        return Refusal(Reason.PERPLEXITY, refuse_output(kind))
    if config.get("unsafe_code"):
        return Refusal(Reason.CODE, "unsafe_code tasks run what the model writes, which this runner does not do")
    if config.get("doc_to_image") or config.get("doc_to_audio"):
        return Refusal(Reason.MEDIA, "needs images or sound, which this runner does not send")
    return None


def _refuse_metric(config: Mapping[str, Any], metric: str) -> Refusal | None:
    names = metrics(config)
    usable = [name for name in names if why_out_of_range(name) is None]
    if not usable:
        reasons = "; ".join(f"{name} {why_out_of_range(name)}" for name in dict.fromkeys(names))
        return Refusal(
            Reason.METRIC, f"has no metric in 0..1, which a score must be: {reasons or 'it has none at all'}"
        )
    why = why_out_of_range(metric)
    if metric in names and why is not None:
        return Refusal(
            Reason.METRIC, f"metric {metric!r} {why}, but a score must be in 0..1; take {' or '.join(usable)}"
        )
    if metric not in names:
        return Refusal(
            Reason.CHOOSE_METRIC, f"its metric_list has {', '.join(usable)}, not {metric!r}; set the task's metric"
        )
    return None


def _refuse_script(config: Mapping[str, Any]) -> Refusal | None:
    # lm_eval loads all of a task's metrics, whichever is the score; of choices it calls none (`without_scripts`).
    names = [str(entry["metric"]) for entry in config.get("metric_list") or [] if entry.get("hf_evaluate")]
    if not names or config.get("output_type") == "multiple_choice":
        return None
    return Refusal(
        Reason.SCRIPT, f"its metric {', '.join(names)} is a script on the hub (hf_evaluate), which is not in the image"
    )


def _refuse_packages(config: Mapping[str, Any]) -> Refusal | None:
    missing = missing_packages(config)
    if not missing:
        return None
    return Refusal(Reason.PACKAGE, f"needs {', '.join(missing)}, which is not installed here")


def modules_of(config: object) -> Iterator[Path]:
    """Find the Python files that a configuration of the index names; the index keeps ``!function`` as PATH.FUNCTION."""
    if isinstance(config, Mapping):
        for value in config.values():
            yield from modules_of(value)
    elif isinstance(config, list):
        for value in config:
            yield from modules_of(value)
    elif isinstance(config, str) and config.startswith("/") and "\n" not in config:
        path = Path(f"{config.rpartition('.')[0]}.py")
        if path.is_file():
            yield path


@cache
def _missing(path: Path) -> frozenset[str]:
    """Find packages that a module, or one of its task's that it imports, needs and that are not installed.

    The module is read and not run.
    """
    return frozenset(_search(path, set()))


def _search(path: Path, seen: set[Path]) -> Iterator[str]:
    if path in seen:
        return
    seen.add(path)
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError):
        return
    for name in _imports(tree.body):
        root = name.partition(".")[0]
        # lm_eval puts the task's folder on the path; its tasks also import one another by their full names.
        relative = name.removeprefix("lm_eval.tasks.")
        folder = _tasks_folder() if relative != name else path.parent
        local = folder / f"{relative.replace('.', '/')}.py"
        if local.is_file():
            yield from _search(local, seen)
        elif importlib.util.find_spec(root) is None:
            yield root


@cache
def _tasks_folder() -> Path:
    spec = importlib.util.find_spec("lm_eval.tasks")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("lm_eval.tasks")
    return Path(spec.origin).parent


def _imports(body: list[ast.stmt]) -> Iterator[str]:
    """Yield what a module must import to be loaded: not in a function, nor where a failure is handled."""
    for statement in body:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            yield statement.module
        elif isinstance(statement, ast.Try) and any(
            isinstance(part, ast.Raise) for handler in statement.handlers for part in handler.body
        ):
            yield from _imports(statement.body)
