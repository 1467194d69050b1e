"""What is wrong with the settings, in one shape: key, value, fault, cure."""

import difflib
import json
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pydantic import BaseModel, ValidationError

from components.labels import PROJECT
from components.settings.forms import WORDS

_UNSET: Final = object()
_LONGEST_VALUE: Final = 80


@dataclass(frozen=True)
class Problem:
    """One fault of the settings.

    ``key`` is written as `pulumi config set --path` takes it; ``value`` is
    JSON, empty if nothing is set; ``cure`` is a command or a sentence.
    """

    key: str
    value: str
    fault: str
    cure: str

    def __str__(self) -> str:
        """Return the problem on two lines."""
        value = f" = {self.value}" if self.value else ""
        return f"  {self.key}{value}: {self.fault}\n      cure: {self.cure}"


class SettingsError(pulumi.RunError):
    """Every problem of the stack's settings at once; Pulumi prints it without a stack trace."""

    def __init__(self, stack: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"The settings of stack '{stack}' have {count}:", *map(str, problems)]))


def full_key(path: Sequence[str | int]) -> str:
    """Return a path such as ``("models", 0, "tag")`` as ``vllm-eval:models[0].tag``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return f"{PROJECT}:{text.removeprefix('.')}"


def set_command(path: Sequence[str | int], example: object, *, secret: bool = False) -> str:
    """Return the command that sets a key to an example."""
    if secret:
        return f"pulumi config set --secret {full_key(path)}"
    if isinstance(example, dict | list):
        return f"write it in the stack file, for example {_shown(example)}"
    # Without a type the CLI stores 1 as a number and true as a boolean.
    kind = " --type string" if isinstance(example, str) and _looks_typed(example) else ""
    return f"pulumi config set --path{kind} '{full_key(path)}' {_word(example)}"


def problem(path: Sequence[str | int], value: object, fault: str, cure: str) -> Problem:
    """Return a problem of a value that was read."""
    return Problem(full_key(path), _shown(value), fault, cure)


def from_pydantic(error: ValidationError, group: str, model: type[BaseModel] | None, raw: object) -> list[Problem]:
    """Translate pydantic's errors of one group."""
    return [_translate(item, (group, *item["loc"]), model, raw) for item in error.errors(include_url=False)]


def _translate(item: Any, path: tuple[str | int, ...], model: type[BaseModel] | None, raw: object) -> Problem:  # noqa: ANN401
    if path[-1] == "[key]":  # a key of a free map, and not its value
        path, raw = path[:-2], None
    kind, key = item["type"], full_key(path)
    if kind == "extra_forbidden":
        known = _fields(model, path[1:-1])
        close = difflib.get_close_matches(str(path[-1]), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
        return Problem(key, _shown(item["input"]), "unknown key", f"pulumi config rm --path '{key}' ({hint})")
    if kind == "missing":
        return Problem(key, "", "not set, but needed", field_cure(model, path))
    fault = str(item["msg"]).removeprefix("Value error, ")
    fault = WORDS[item["ctx"]["pattern"]] if kind == "string_pattern_mismatch" else f"{fault[:1].lower()}{fault[1:]}"
    if kind == "string_type":
        fault += "; quote it in the stack file, or set it with --type string"
    return Problem(key, _shown(_at(raw, path[1:], item["input"])), fault, field_cure(model, path))


def field_cure(model: type[BaseModel] | None, path: Sequence[str | int]) -> str:
    """Return the command that sets a field of a group's model to its example, or back to its default."""
    example = _example(model, path[1:])
    return (
        f"pulumi config rm --path '{full_key(path)}' for the default"
        if example is _UNSET
        else set_command(path, example)
    )


def _field(model: type[BaseModel] | None, path: Iterable[str | int]) -> tuple[Any, type[BaseModel] | None]:
    """Return the field at a path and the model of its values, as far as they are known."""
    found: Any = None
    for part in path:
        if isinstance(part, int):
            continue
        found = model.model_fields.get(part) if model else None
        model = _model_of(found.annotation) if found else None
    return found, model


def _fields(model: type[BaseModel] | None, path: Iterable[str | int]) -> list[str]:
    inner = _field(model, path)[1] if any(isinstance(part, str) for part in path) else model
    return sorted(inner.model_fields) if inner else []


def _model_of(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_model_of(each) for each in typing.get_args(annotation))
    return next((each for each in inner if each), None)


def _example(model: type[BaseModel] | None, path: Iterable[str | int]) -> object:
    field, _ = _field(model, path)
    if field is None:
        return _UNSET
    if field.examples:
        return field.examples[0]
    default = getattr(field.default, "value", field.default)  # an enum's text
    return default if isinstance(default, str | int) else _UNSET


def _at(raw: object, path: Iterable[str | int], default: object) -> object:
    for part in path:
        try:
            raw = raw[part]  # type: ignore[index] # any JSON; what cannot be indexed is caught
        except (KeyError, IndexError, TypeError):
            return default
    return raw


def _looks_typed(text: str) -> bool:
    return text in {"true", "false"} or text.isdigit()


def _word(example: object) -> str:
    text = example if isinstance(example, str) else json.dumps(example if example is not _UNSET else "VALUE")
    return text if text and all(char.isalnum() or char in "-_./:@" for char in text) else f"'{text}'"


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
