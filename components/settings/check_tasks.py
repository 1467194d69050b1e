"""Rules on the configuration file and on the tasks of each model."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from components import labels
from components.settings.model import EvaluationSettings, Model
from components.settings.problems import Problem, problem, rm_command, set_command
from vllm_eval.config import TaskSettings, load_config
from vllm_eval.errors import ConfigError

Found = Iterator[Problem]
Key = list[str | int]

ROOT: Final = Path(__file__).resolve().parents[2]
CONFIGS: Final = ROOT / labels.CONFIGS


def config_file(name: str | None) -> Path:
    """Return the file of this checkout that `evaluation.config` names."""
    return ROOT / labels.config_file(name)


def check_config(evaluation: EvaluationSettings) -> Found:
    """Refuse a configuration that is not in this checkout, and so not in the image."""
    if evaluation.config is None or config_file(evaluation.config).is_file():
        return
    known = sorted(str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.rglob("*.json"))
    close = difflib.get_close_matches(evaluation.config, known, n=1, cutoff=0.4) or known[:1]
    path: Key = ["evaluation", "config"]
    fault = f"no such file in {labels.CONFIGS}, which has {', '.join(known)}"
    yield problem(path, evaluation.config, fault, set_command(path, close[0]))


def check_models_tasks(models: Sequence[Model], evaluation: EvaluationSettings) -> Found:
    """Refuse tasks that the configuration does not enable, and tasks that are listed twice."""
    file = config_file(evaluation.config)
    enabled = _enabled(file)
    for index, model in enumerate(models):
        names: tuple[str, ...] = vars(model).get("tasks") or ()
        for place, name in enumerate(names):
            path: Key = ["models", index, "tasks", place]
            if enabled is not None and name not in enabled:
                close = difflib.get_close_matches(name, list(enabled), n=1) or list(enabled)[:1]
                fault = f"is not enabled in {file.name}, which has {_listed(list(enabled))}"
                yield problem(path, name, fault, set_command(path, close[0]))
            elif name in names[:place]:
                yield problem(path, name, "is there twice", rm_command(path))


def _enabled(file: Path) -> dict[str, TaskSettings] | None:
    """Return the enabled tasks; None if the file cannot be read, which is reported elsewhere."""
    try:
        return load_config(file)
    except ConfigError:
        return None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


TASK_CHECKS: Final[tuple[Callable[..., Found], ...]] = (check_config, check_models_tasks)
