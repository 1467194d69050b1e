"""Pydantic's errors as problems, each with the cure that fits the value that was given."""

import difflib
import json
import re
import typing
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from components.labels import PROJECT
from components.settings.forms import DURATION, WORDS
from components.settings.keys import ENDPOINT_PREFIX, RECEIVER_PREFIX
from components.settings.problems import (
    Path,
    Problem,
    credential_cure,
    full_key,
    problem,
    rm_command,
    set_command,
    shown,
)
from components.settings.quantities import seconds

_UNSET: Final = object()
_YES: Final = {"true", "yes", "on", "y", "1", "enabled"}
_NO: Final = {"false", "no", "off", "n", "0", "disabled"}

# What other projects call it, by the words of the key without case, dashes and underscores.
SYNONYMS: Final = {
    "url": "endpoint", "baseurl": "endpoint", "address": "endpoint", "apibase": "endpoint", "modelurl": "endpoint",
    "model": "name", "modelname": "name", "servedmodelname": "served_name", "version": "tag", "modeltag": "tag",
    "cron": "schedule", "timezone": "time_zone", "tz": "time_zone", "branch": "revision", "ref": "revision",
    "targetrevision": "revision", "repo": "repository", "repourl": "repository", "storageclassname": "storage_class",
    "storage": "size", "accessmodes": "access_mode", "apitype": "api", "token": "api_key", "key": "api_key",
    "podlabels": "labels", "matchlabels": "labels", "selector": "labels", "targetport": "port", "ns": "namespace",
    "kubecontext": "context", "serviceaccountannotations": "account_annotations", "timeout": "deadline_seconds",
    "maxconcurrency": "concurrency", "scrapeinterval": "scrape_interval_seconds", "interval": "scrape_interval_seconds",
}  # fmt: skip


def from_pydantic(
    error: ValidationError, group: str, model: type[BaseModel], raw: object, every: typing.Mapping[str, type[BaseModel]]
) -> list[Problem]:
    """Translate pydantic's errors of one group; `every` are all groups, to find where a misplaced key belongs."""
    return [_translate(item, (group, *place(item)), model, raw, every) for item in error.errors(include_url=False)]


def place(item: Any) -> Path:  # noqa: ANN401 (pydantic's)
    """Return where an error is, without the tags of alternatives."""
    return tuple(part for part in item["loc"] if not str(part).startswith("("))


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a model by the names that stand in a stack file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def field_cure(model: type[BaseModel], path: Sequence[str | int], given: object = None) -> str:
    """Return the command that sets a field of a group's model to what `given` was meant for, its example or default."""
    example = _example(model, path[1:])
    if example is _UNSET and isinstance(given, str):
        example = "VALUE"
    return f"{rm_command(path)} for the default" if example is _UNSET else set_command(path, example)


def _translate(
    item: Any,  # noqa: ANN401 (pydantic's)
    path: Path,
    model: type[BaseModel],
    raw: object,
    every: typing.Mapping[str, type[BaseModel]],
) -> Problem:
    if path[-1] == "[key]":  # a key of a free map, and not its value
        fault = WORDS[item["ctx"]["pattern"]]
        return problem(path[:-2], item["input"], fault, f"rename the key {shown((), item['input'])} in the stack file")
    kind, key, value = item["type"], full_key(path), _at(raw, path[1:], item["input"])
    if kind == "extra_forbidden":
        return Problem(key, shown(path, item["input"]), "unknown key", _unknown_cure(model, path, every))
    if kind == "missing":
        return Problem(key, "", "not set, but needed", field_cure(model, path))
    fault = str(item["msg"]).removeprefix("Value error, ")
    fault = WORDS[item["ctx"]["pattern"]] if kind == "string_pattern_mismatch" else f"{fault[:1].lower()}{fault[1:]}"
    if kind == "string_type":
        fault += "; quote it in the stack file, or set it with --type string"
    return problem(path, value, fault, _cure(kind, item.get("ctx", {}), model, path, value))


def _cure(kind: str, context: dict[str, Any], model: type[BaseModel], path: Path, value: Any) -> str:  # noqa: ANN401 (JSON)
    if kind in {"list_type", "tuple_type"}:
        return f"write {full_key(path)} as a list in the stack file, each entry after a dash{_entries(value)}"
    if "receivers" in path and path[-1] == "url":
        secret = set_command([f"{RECEIVER_PREFIX}NAME"], "", secret=True)
        return f"{rm_command(path)}, then, with the receiver's name, {secret}; Git may hold the address already"
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        return f"write {full_key(path)} as an object in the stack file: its keys, one a line, below it"
    if kind.startswith("bool"):
        return _boolean_cure(path, value)
    if path[-1] in {"api_key", "ca"} and kind == "string_pattern_mismatch":
        return credential_cure(path, ENDPOINT_PREFIX)
    found = _meant(kind, context, path, value)
    if found is _UNSET and kind in {"greater_than_equal", "less_than_equal"}:
        found = _UNSET if _example(model, path[1:]) is not _UNSET else context["ge" if "greater" in kind else "le"]
    return field_cure(model, path, value) if found is _UNSET else set_command(path, found)


def _entries(value: object) -> str:
    """Return how a map of entries looks as a list."""
    if not isinstance(value, dict) or not value:
        return ""
    inner = list(value.values())
    if all(isinstance(each, dict) for each in inner):
        return f" (- name: {next(iter(value))} …), instead of by name"
    return f" (- {next(iter(value))}: …)"


def _boolean_cure(path: Path, value: object) -> str:
    text = str(value).strip().lower()
    if text in _YES | _NO:
        return set_command(path, text in _YES)
    return f"write true or false, without quotes: {set_command(path, False)}, or true"


def _meant(kind: str, context: dict[str, Any], path: Path, value: object) -> object:
    """Return what the given value was evidently meant to be, or _UNSET."""
    if kind.startswith("int"):
        text = str(value).strip()
        if re.fullmatch(r"-?[0-9][0-9_,]*(\.0+)?", text) and not isinstance(value, bool):
            return int(re.sub(r"[_,]|\.0+$", "", text))
        is_length = str(path[-1]).endswith("_seconds") and re.fullmatch(DURATION, text)
        return seconds(text) if is_length else _UNSET
    if kind == "string_type":
        return json.dumps(value) if isinstance(value, int | float) else _UNSET
    if kind in {"enum", "literal_error"}:
        return _choice(str(value), re.findall(r"'([^']+)'", str(context.get("expected", ""))))
    if kind == "string_pattern_mismatch" and isinstance(value, str):
        return next((each for each in _mended(value) if re.search(context["pattern"], each)), _UNSET)
    return _UNSET


def _choice(value: str, choices: Sequence[str]) -> object:
    text = re.sub(r"[^a-z]", "", value.lower())
    initials = {"".join(re.findall("[A-Z]", each)).lower(): each for each in choices}
    # kubectl writes RWX for ReadWriteMany.
    initials["rwx"] = initials.get("rwm", "")
    if initials.get(text):
        return initials[text]
    found: list[object] = [
        each for each in choices if text and (text.startswith(each.lower()) or each.lower().startswith(text))
    ]
    close = difflib.get_close_matches(value, choices, n=1)
    return (found or close or [_UNSET])[0]


def _mended(value: str) -> Iterator[str]:
    """Yield what a text may have been meant for, the likeliest first."""
    tight = "".join(value.split())
    yield from (value.strip(), tight)
    if length := re.fullmatch(r"([0-9]+)(\.5)?\s*(s|m|h|d)[a-z]*", value.strip().lower()):
        number, half, unit = length.groups()
        smaller = {"d": (24, "h"), "h": (60, "m"), "m": (60, "s")}.get(unit)
        yield (
            f"{number}{unit}" if not half else f"{int((int(number) + 0.5) * smaller[0])}{smaller[1]}" if smaller else ""
        )
    yield re.sub(r"(?i)(?<=[0-9])([kmgt])(i?)b?$", lambda unit: unit[1].upper() + unit[2].lower(), tight)
    yield tight.lower().replace("_", "-")
    if "://" not in value:
        yield from (
            f"https://{tight}" if tight.startswith("git") or ":" not in tight else f"http://{tight}",
            f"{tight}/32",
        )
    yield re.sub(r"(@sha256:[0-9a-f]+|:[\w.-]+)$", "", tight.lower())


def _unknown_cure(model: type[BaseModel], path: Path, every: typing.Mapping[str, type[BaseModel]]) -> str:
    known, last = _fields(model, path[1:-1]), str(path[-1])
    plain = re.sub(r"[^a-z0-9]", "", last.lower())
    same = [each for each in known if each.replace("_", "") == plain]
    if (found := SYNONYMS.get(plain)) in known:
        same = same or [str(found)]
    elsewhere = [
        place for group, each in every.items() for place in _places(each, group) if place.rpartition(".")[2] == last
    ]
    if not same and len(elsewhere) == 1:
        return f"move it to {PROJECT}:{elsewhere[0]}, where it belongs"
    if close := same or difflib.get_close_matches(last, known, n=1):
        return f"rename it to {close[0]} in the stack file"
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


def model_of(annotation: object) -> type[BaseModel] | None:
    """Return the model in a type expression."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (model_of(each) for each in typing.get_args(annotation))
    return next((each for each in inner if each), None)


def _example(model: type[BaseModel], path: Iterable[str | int]) -> object:
    field, _ = field_at(model, path)
    if field is None:
        return _UNSET
    if field.examples:
        return field.examples[0]
    default = field.default
    if isinstance(default, Enum):
        default = default.value
    return default if isinstance(default, str | int) else _UNSET


def _at(raw: object, path: Iterable[str | int], default: object) -> object:
    for part in path:
        try:
            raw = raw[part]  # type: ignore[index] # any JSON; what cannot be indexed is caught
        except (KeyError, IndexError, TypeError):
            return default
    return raw
