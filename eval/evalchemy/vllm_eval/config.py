"""eval_config.json: which tasks run, and how strictly their answers are judged."""

from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

from vllm_eval.errors import ConfigError
from vllm_eval.strict import Strict, parse_json, problems

# More repeats tell less than more items would.
MOST_SAMPLES: Final = 256
Share = Annotated[float, Field(ge=0, le=1, strict=False)]


class TaskSettings(Strict):
    """One task of eval_config.json.

    ``metric`` and ``filter`` choose the task's score among its results (default
    metric: ``exact_match`` if the task has it, else ``acc``, else its first in
    0..1; default filter: the task's only one, else its first). At most
    ``max_empty_share`` of the answers may lack text and at most
    ``max_truncated_share`` may have been cut by the token limit; above that
    the score would measure the limits and not the model. ``max_tokens`` is the
    token limit of Evalchemy's benchmarks (a YAML has its own). ``cluster`` names
    a field of the items that share a passage, so that error bars allow for it.
    ``num_fewshot`` and ``generation`` are laid over the YAML's ``num_fewshot``
    and ``generation_kwargs``, key by key, of lm_eval's own tasks too.
    ``samples`` is how often each item is asked, with a seed of its own each
    time; at most ``max_unfinished_thoughts_share`` of the answers may have been
    cut by the token limit before the model stopped thinking.
    A group's or
    tag's settings are those of each of its tasks; ``leaves`` publishes their
    scores beside the group's.
    ``revision`` is the commit, tag or branch of the hub's repository that the
    items are taken from (default: what the task's YAML says, else the newest).
    """

    enabled: bool
    engine: Annotated[str, Field(pattern=r"^[a-z_]+$")] = "lm_eval"
    limit: Annotated[int, Field(ge=1)] | None = None
    metric: Annotated[str, Field(min_length=1)] | None = None
    filter: Annotated[str, Field(min_length=1)] | None = None
    max_empty_share: Share = 0.1
    max_truncated_share: Share = 0.5
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    cluster: Annotated[str, Field(min_length=1)] | None = None
    num_fewshot: Annotated[int, Field(ge=0)] | None = None
    generation: dict[str, Any] | None = None
    samples: Annotated[int, Field(ge=1, le=MOST_SAMPLES)] = 1
    max_unfinished_thoughts_share: Share = 0.05
    leaves: bool = False
    revision: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w./-]*$")] | None = None


def parse_config(text: str, source: str) -> dict[str, TaskSettings]:
    """Parse eval_config.json and return the enabled tasks, in file order.

    Raises
    ------
    ConfigError
        With all problems at once: JSON errors, duplicate or unknown keys,
        values out of range, or no task enabled.
    """
    try:
        raw = parse_json(text)
    except ValueError as error:
        raise ConfigError(f"{source}: not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f'{source}: must be an object like {{"custom_task_1": {{"enabled": true}}}}')
    tasks: dict[str, TaskSettings] = {}
    found: list[str] = []
    for name, entry in raw.items():
        if not name or any(not (char.isalnum() or char in "_-.()") for char in name):
            found.append(f"{name!r}: a task's name has letters, digits, '_', '-', '.' and parentheses only")
        try:
            tasks[name] = TaskSettings.model_validate(entry)
        except ValidationError as error:
            found += problems(error, name)
    if found:
        raise ConfigError.of(source, found)
    enabled = {name: task for name, task in tasks.items() if task.enabled}
    if not enabled:
        raise ConfigError(f'{source}: no task is enabled; set "enabled": true for at least one')
    return enabled


def load_config(path: Path) -> dict[str, TaskSettings]:
    """Read eval_config.json from ``path``; see :func:`parse_config`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; set VLLM_EVAL_CONFIG or --config") from None
    return parse_config(text, str(path))
