"""Pydantic's errors as problems, each with the cure that fits the value that was given."""

import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from components.labels import PROJECT
from components.settings import meant
from components.settings.forms import WORDS
from components.settings.keys import ENDPOINT_PREFIX, RECEIVER_PREFIX, SECRETS
from components.settings.meant import SYNONYMS, UNSET, fields_of, fitted, model_of, needed, plain
from components.settings.problems import (
    Path,
    Problem,
    credential_cure,
    full_key,
    problem,
    rm_command,
    set_command,
    shown,
    written,
)

# Keys for a bucket's address and credentials, which the libraries of buckets read from the environment.
BUCKET: Final = ("evaluation", "results")
STORE_WORDS: Final = ("endpoint", "accesskey", "secret", "region")
Every = typing.Mapping[str, type[BaseModel]]


def from_pydantic(
    error: ValidationError, group: str, model: type[BaseModel], raw: object, every: Every
) -> list[Problem]:
    """Translate pydantic's errors of one group; `every` are all groups, to find where a misplaced key belongs."""
    return [_translate(item, (group, *place(item)), model, raw, every) for item in error.errors(include_url=False)]


def place(item: Any) -> Path:  # noqa: ANN401 (pydantic's)
    """Return the path of an error, without the tags of unions."""
    return tuple(part for part in item["loc"] if not str(part).startswith("("))


def field_cure(model: type[BaseModel], path: Sequence[str | int], given: object = None) -> str:
    """Return the command that sets a field of a group's model to what `given` was meant for, its example or default."""
    example = _example(model, path[1:])
    if example is UNSET and isinstance(given, str) and given:
        example = "VALUE"
    return f"{rm_command(path)} for the default" if example is UNSET else set_command(path, example)


def _translate(
    item: Any,  # noqa: ANN401 (pydantic's)
    path: Path,
    model: type[BaseModel],
    raw: object,
    every: Every,
) -> Problem:
    if path[-1] == "[key]":  # a key of a free map, and not its value
        fault = WORDS[item["ctx"]["pattern"]]
        return problem(path[:-2], item["input"], fault, f"rename the key {shown((), item['input'])} in the stack file")
    kind, key, value = item["type"], full_key(path), _at(raw, path[1:], item["input"])
    if kind == "extra_forbidden":
        return meant.unknown(path, item["input"], _unknown_cure(model, path, every))
    if kind == "missing":
        route = "for other kinds, add a route to your own Alertmanager (operations.md)"
        others = f"; {route}" if path[-1] == "kind" else ""
        return Problem(key, "", "not set, but needed", field_cure(model, path) + others)
    fault = str(item["msg"]).removeprefix("Value error, ")
    fault = WORDS[item["ctx"]["pattern"]] if kind == "string_pattern_mismatch" else f"{fault[:1].lower()}{fault[1:]}"
    if kind == "string_type" and isinstance(value, int | float):
        fault += "; quote it in the stack file, or set it with --type string"
    return problem(path, value, fault, _cure(kind, item.get("ctx", {}), model, path, value))


def _cure(kind: str, context: dict[str, Any], model: type[BaseModel], path: Path, value: Any) -> str:  # noqa: ANN401 (JSON)
    field, inner = field_at(model, path[1:])
    annotation = None if field is None else field.annotation
    if cure := _of_this_field(kind, path, value):
        return cure
    if kind in {"list_type", "tuple_type"}:
        entries = fitted(annotation, value)
        how = _by_name(value) if entries is UNSET else f": {written(path, entries)}"
        return f"write {full_key(path)} as a list in the stack file, each entry after a dash{how}"
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        return f"write {full_key(path)} as an object in the stack file: {_as_object(inner, annotation, value)}"
    if kind.startswith("bool"):
        found = meant.boolean(value)
        either = f"write true or false, without quotes: {set_command(path, False)}, or true"
        return either if found is UNSET else set_command(path, found)
    found = meant.value_of(kind, context, path, value, annotation)
    if found is UNSET and path[-1] == "kind":
        # No other kind of receiver understands what is sent.
        return f"{rm_command(path[:-1])}, and add a route to your own Alertmanager instead (operations.md)"
    if found is UNSET and kind in {"greater_than_equal", "less_than_equal"}:
        found = UNSET if _example(model, path[1:]) is not UNSET else context["ge" if "greater" in kind else "le"]
    return field_cure(model, path, value) if found is UNSET else set_command(path, found)


CURES: Final[Mapping[object, Callable[[Path, str], str]]] = {
    "schedule": meant.schedule_cure,
    "cidr": meant.network_cure,
}


def _of_this_field(kind: str, path: Path, value: object) -> str | None:
    """Return the cure of a field that needs more than another value."""
    if "receivers" in path and path[-1] == "url":
        secret = set_command([f"{RECEIVER_PREFIX}NAME"], "", secret=True)
        return f"{rm_command(path)}, then, with the receiver's name, {secret}; Git may hold the address already"
    if kind != "string_pattern_mismatch":
        return None
    if path[-1] in {"api_key", "ca"}:
        return credential_cure(path, ENDPOINT_PREFIX)
    if path[-1] in CURES:
        return CURES[path[-1]](path, str(value))
    if path == ("image", "repository") and (tag := re.search(r":([\w.-]+)$", str(value))):
        return f"{set_command(path, str(value)[: tag.start()])}, then {set_command(['image', 'tag'], tag[1])}"
    return None


def _by_name(value: object) -> str:
    """Say how a map of entries is written as a list."""
    if isinstance(value, dict) and value and all(isinstance(each, dict) for each in value.values()):
        return f" (- name: {next(iter(value))} …), instead of by name"
    return ""


def _as_object(inner: type[BaseModel] | None, annotation: object, value: object) -> str:
    found = fitted(inner or annotation, value)
    if found is UNSET and inner is not None:
        found = needed(inner) or UNSET
    return "its keys, one a line, below it" if found is UNSET else written((), found)


def _unknown_cure(model: type[BaseModel], path: Path, every: Every) -> str:
    known, last = _fields(model, path[1:-1]), str(path[-1])
    words = {plain(last), plain(f"{path[0]}{last}"), plain(SYNONYMS.get(plain(last), ""))}
    if secrets := [key for key in SECRETS if plain(key) in words]:
        return f"{rm_command(path)}, then {set_command(secrets, '', secret=True)}"
    if path[:-1] == BUCKET and last.lower().replace("_", "").removeprefix("s3").startswith(STORE_WORDS):
        return f"{rm_command(path)}, and set the AWS libraries' variables in evaluation.pod.env (operations.md)"
    for groups in ({str(path[0]): model}, every):
        elsewhere = [
            place
            for group, each in groups.items()
            for place in _places(each, group)
            if place.rpartition(".")[2] == last
        ]
        if len(elsewhere) == 1:
            return f"move it to {PROJECT}:{elsewhere[0]}, where it belongs"
    return f"{rm_command(path)} (known here: {', '.join(known)})"


def _places(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in fields_of(model).items():
        yield f"{prefix}.{name}"
        if (inner := model_of(field.annotation)) is not None:
            yield from _places(inner, f"{prefix}.{name}")


def field_at(model: type[BaseModel] | None, path: Iterable[str | int]) -> tuple[Any, type[BaseModel] | None]:
    """Return the field at a path and the model of its values, as far as they are known."""
    found: Any = None
    for part in path:
        if isinstance(part, int):
            continue
        found = fields_of(model).get(part) if model else None
        model = model_of(found.annotation) if found else None
    return found, model


def _fields(model: type[BaseModel], path: Iterable[str | int]) -> list[str]:
    inner = field_at(model, path)[1] if any(isinstance(part, str) for part in path) else model
    return sorted(fields_of(inner)) if inner else []


def _example(model: type[BaseModel], path: Sequence[str | int]) -> object:
    field, _ = field_at(model, path)
    if field is None:
        return UNSET
    if field.examples:
        example = field.examples[0]
        return example[0] if isinstance(example, list) and isinstance(path[-1], int) else example
    default = field.default
    if isinstance(default, Enum):
        default = default.value
    return default if isinstance(default, str | int) else UNSET


def _at(raw: object, path: Iterable[str | int], default: object) -> object:
    for part in path:
        try:
            raw = raw[part]  # type: ignore[index] # any JSON; what cannot be indexed is caught
        except (KeyError, IndexError, TypeError):
            return default
    return raw
