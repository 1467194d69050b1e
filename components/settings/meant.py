"""Guesses what a setting was meant to be that is written as other projects write it, or is nearly right."""

import difflib
import ipaddress
import json
import re
import types
import typing
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from components.settings import cron
from components.settings.problems import HIDDEN, Path, Problem, full_key, rm_command, set_command, shown, written
from components.settings.quantities import seconds
from components.settings.secret_key import SecretKey
from monitoring.thresholds import DURATION

UNSET: Final = object()
_YES: Final = {"true", "yes", "on", "y", "1", "enabled"}
_NO: Final = {"false", "no", "off", "n", "0", "disabled"}
# Words that are less similar usually mean something else: KST and MST, access_key and access_mode.
ALIKE: Final = 0.8

# Our names of the keys of other projects; those are in lower case, without dashes and underscores.
SYNONYMS: Final = {
    "url": "endpoint", "baseurl": "endpoint", "address": "endpoint", "apibase": "endpoint", "modelurl": "endpoint",
    "model": "name served_name", "modelname": "name served_name", "id": "name served_name",
    "servedmodelname": "served_name", "version": "tag", "modeltag": "tag", "type": "api kind", "apitype": "api",
    "token": "api_key", "key": "api_key",
    "cron": "schedule", "timezone": "time_zone", "tz": "time_zone", "branch": "revision", "ref": "revision",
    "targetrevision": "revision", "repo": "repository", "repourl": "repository", "storageclassname": "storage_class",
    "storage": "size", "accessmodes": "access_mode", "chartversion": "version", "server": "url",
    "podlabels": "labels", "matchlabels": "labels", "selector": "labels", "podselector": "labels",
    "podselectormatchlabels": "labels", "namespaceselectormatchlabels": "namespace", "additionallabels": "labels",
    "targetport": "port", "containerport": "port", "ns": "namespace", "priorityclass": "priorityClassName",
    "kubecontext": "context", "serviceaccountannotations": "account_annotations", "timeout": "deadline_seconds",
    "maxconcurrency": "concurrency", "scrapeinterval": "scrape_interval_seconds", "interval": "scrape_interval_seconds",
    "localqueue": "queue", "queuename": "queue", "severity": "severities",
    "ports": "port", "hftoken": "huggingface_token", "huggingfacehubtoken": "huggingface_token",
}  # fmt: skip

# What pods, charts and External Secrets call a Secret and its key.
_SECRETS: Final = ("secret", "name", "secretname", "existingsecret")
_KEYS: Final = ("key", "secretkey", "existingsecretkey", "secretkeyname")


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a model by the names that stand in a stack file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def needed(model: type[BaseModel]) -> dict[str, Any]:
    """Return an example of each field that a model must have."""
    return {
        name: field.examples[0] for name, field in fields_of(model).items() if field.is_required() and field.examples
    }


def model_of(annotation: object) -> type[BaseModel] | None:
    """Return the model in a type expression."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (model_of(each) for each in typing.get_args(annotation))
    return next((each for each in inner if each), None)


def straightened(raw: object, model: type[BaseModel], path: Path) -> tuple[Any, list[Problem]]:
    """Return a group with each value under the key that it was meant for, and a problem for each that was not.

    So a key under another name is one fault, and its value is judged at once.
    """
    if isinstance(raw, list):
        each = [straightened(item, model, (*path, index)) for index, item in enumerate(raw)]
        return [item for item, _ in each], [found for _, problems in each for found in problems]
    if not isinstance(raw, dict):
        return raw, []
    fields, right, problems = fields_of(model), dict(raw), list[Problem]()
    for key in [key for key in raw if key not in fields]:
        way, value = _place(key, raw[key], fields, taken=right.keys())
        if way:
            del right[key]
            moved = _put(right, way, value)
            cure = _moved(key, raw[key], way, value)
            taken = f"{rm_command([*path, key])}, since {'.'.join(way)} is set as well"
            problems.append(unknown((*path, key), raw[key], cure if moved else taken))
    for key in right.keys() & fields.keys():
        if (inner := model_of(fields[key].annotation)) is not None:
            right[key], found = _inside(right[key], inner, (*path, key))
            problems += found
    return right, problems


def _inside(value: object, model: type[BaseModel], path: Path) -> tuple[Any, list[Problem]]:
    """Straighten a value of a group; a Secret and its key have many names in other projects."""
    if model is not SecretKey or not isinstance(value, dict) or value.keys() <= SecretKey.model_fields.keys():
        return straightened(value, model, path)
    if not (found := _secret_key(value)):
        return value, []
    fault = f"names a Secret with other keys than {' and '.join(SecretKey.model_fields)}"
    cure = f"write {path[-1]}: {written(path, found)} in its place in the stack file"
    return found, [Problem(full_key(path), shown(path, value), fault, cure)]


def _put(holder: Any, way: Sequence[str], value: object) -> bool:  # noqa: ANN401 (JSON)
    """Put a value in its place; return False, and change nothing, if the place is taken."""
    for part in way[:-1]:
        holder = holder.setdefault(part, {}) if isinstance(holder, dict) else None
    free = isinstance(holder, dict) and way[-1] not in holder
    if free:
        holder[way[-1]] = value
    return free


def unknown(path: Path, value: object, cure: str) -> Problem:
    """Return the problem of a key that nothing reads; its value may be a credential."""
    given = shown(path, value)
    if HIDDEN in given:
        cure += "; if it holds a credential, replace that, since Git may hold it already"
    return Problem(full_key(path), given, "unknown key", cure)


def _moved(key: str, given: object, way: Sequence[str], value: object) -> str:
    if len(way) > 1:
        return f"write {'.'.join(way[1:])} below {way[0]} in the stack file"
    if value == given:
        return f"rename it to {way[0]} in the stack file"
    return f"write {way[0]}: {written((key,), value)} in its place in the stack file"


def _place(
    key: str, value: object, fields: Mapping[str, FieldInfo], taken: Container[str]
) -> tuple[tuple[str, ...], object]:
    """Return the path to the field that an unknown key was meant for, empty if unknown, and the value for the field."""
    first, _, rest = key.partition(".")
    if rest and first in fields and model_of(fields[first].annotation):
        return tuple(key.split(".")), value
    if found := _named(key, value, fields, taken):
        return found
    # These words have too many meanings.
    below = (
        []
        if key in {"url", "image", "name", "version"}
        else [
            (name, inside)
            for name, field in fields.items()
            if (inner := model_of(field.annotation)) and not str(field.annotation).startswith("tuple[")
            for inside in fields_of(inner)
            if plain(inside) == plain(key)
        ]
    )
    if len(below) == 1:
        return below[0], value
    return tuple(difflib.get_close_matches(key, list(fields), n=1, cutoff=ALIKE)), value


def _named(
    key: str, value: object, fields: Mapping[str, FieldInfo], taken: Container[str]
) -> tuple[tuple[str, ...], object] | None:
    """Return the field that other projects call by this name, if the value fits the field's type."""
    words = plain(key)
    while True:
        same = [name for name in fields if plain(name) == words or name in SYNONYMS.get(words, "").split()]
        same.sort(key=lambda name: name in taken)  # the free one first
        if same and (fit := fitted(fields[same[0]].annotation, value)) is not UNSET:
            return (same[0],), fit
        if not isinstance(value, dict) or len(value) != 1:
            return None
        # serviceAccount: {annotations: …}
        ((inside, value),) = value.items()
        words += plain(str(inside))


def fitted(annotation: Any, value: object) -> object:  # noqa: ANN401 (a type expression)
    """Return a value in the JSON type of a field, or UNSET if it cannot be converted."""
    kinds = _kinds(annotation)
    models = [each for each in kinds if isinstance(each, type) and issubclass(each, BaseModel)]
    if listed := next((each for each in kinds if typing.get_origin(each) is tuple), None):
        return _as_list(typing.get_args(listed)[0], value)
    if any(typing.get_origin(each) is dict for each in kinds):
        return _as_map(value)
    if isinstance(value, list):
        return fitted(annotation, value[0]) if len(value) == 1 else UNSET
    if models == kinds:
        return _as_group(models[0], value)
    return _of_object(value, models) if isinstance(value, dict) else value


def _as_map(value: object) -> object:
    if isinstance(value, dict):
        return value["matchLabels"] if list(value) == ["matchLabels"] else value
    pairs = [part.partition("=") for part in value.split(",")] if isinstance(value, str) and "=" in value else []
    return {key.strip(): text.strip() for key, _, text in pairs} or UNSET


def _as_group(model: type[BaseModel], value: object) -> object:
    if isinstance(value, dict):
        return value if model is not SecretKey else _secret_key(value) or UNSET
    names = list(needed(model))
    single = len(names) == 1 and model_of(fields_of(model)[names[0]].annotation) is None
    return {names[0]: value} if single else UNSET


def _of_object(value: dict[str, Any], models: Sequence[type[BaseModel]]) -> object:
    """Return the name in an object, for a field that takes only a name."""
    if SecretKey in models:
        return _secret_key(value) or UNSET
    named = [value[key] for key in ("name", "claim", "port") if key in value] or list(value.values())
    return named[0] if len(named) == 1 and isinstance(named[0], str | int) else UNSET


def _as_list(item: Any, value: object) -> object:  # noqa: ANN401 (a type expression)
    inner = model_of(item)
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        known = fields_of(inner) if inner else {}
        if {"name", "value"} <= known.keys() and not value.keys() & known.keys():
            return [{"name": key, "value": text} for key, text in value.items()]
        return [value] if value.keys() <= known.keys() else UNSET
    entries = [part.strip() for part in value.split(",")] if isinstance(value, str) else [value]
    found = [fitted(item, each) for each in entries]
    return UNSET if UNSET in found else found


def _kinds(annotation: Any) -> list[Any]:  # noqa: ANN401 (a type expression)
    """Return the alternatives of a type expression, without None and annotations."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _kinds(annotation.__origin__)
    if origin in {typing.Union, types.UnionType}:
        return [kind for each in typing.get_args(annotation) for kind in _kinds(each)]
    return [] if annotation is type(None) else [annotation]


def _secret_key(value: dict[str, Any]) -> dict[str, Any] | None:
    """Return the Secret and, if given, the key that an object names in other words; None if it names no Secret."""
    while len(value) == 1 and isinstance(inner := next(iter(value.values())), dict):
        value = inner
    given = {plain(str(key)): each for key, each in value.items()}
    found = {
        ours: given[word]
        for ours, words in (("secret", _SECRETS), ("key", _KEYS))
        for word in reversed(words)
        if isinstance(given.get(word), str)
    }
    return found if "secret" in found else None


def boolean(value: object) -> object:
    """Return the boolean that a word stands for, or UNSET."""
    text = str(value).strip().lower()
    return text in _YES if text in _YES | _NO else UNSET


def value_of(kind: str, context: Mapping[str, Any], path: Path, value: object, annotation: object) -> object:
    """Return what a value of a wrong form was meant to be, or UNSET; `kind` and `context` are pydantic's."""
    if kind.startswith("int"):
        return _number(path, value)
    if kind == "string_type" and isinstance(value, int | float):
        return json.dumps(value)
    if kind == "string_type" and isinstance(value, dict | list):
        return fitted(annotation, value)
    if kind in {"enum", "literal_error"}:
        return _choice(str(value), re.findall(r"'([^']+)'", str(context.get("expected", ""))))
    if kind == "string_pattern_mismatch" and isinstance(value, str):
        return next((each for each in _mended(value) if re.search(context["pattern"], each)), UNSET)
    return UNSET


def _number(path: Path, value: object) -> object:
    text = str(value).strip()
    if re.fullmatch(r"-?[0-9][0-9_,]*(\.0+)?", text) and not isinstance(value, bool):
        return int(re.sub(r"[_,]|\.0+$", "", text))
    return seconds(text) if str(path[-1]).endswith("_seconds") and re.fullmatch(DURATION, text) else UNSET


def schedule_cure(path: Sequence[str | int], text: str) -> str:
    """Return the commands that set the schedule, and where it names one the time zone, that a text was meant for."""
    schedule, zone = cron.meant(text)
    command = set_command(path, schedule)
    return f"{set_command([*path[:-1], 'time_zone'], zone)}, then {command}" if zone else command


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
    return (found or close or [UNSET])[0]


def network_cure(path: Sequence[str | int], text: str) -> str:
    """Return the command that sets the network that a text was meant for: the one around an address, any for a name."""
    try:
        return set_command(path, str(ipaddress.ip_network(text.strip(), strict=False)))
    except ValueError:
        anywhere = set_command(path, "0.0.0.0/0")
        return f"{anywhere}, or, where the name always has one address, that one with /32"


def _mended(value: str) -> Iterator[str]:
    """Yield what a text may have been meant for, the likeliest first."""
    tight = "".join(value.split())
    yield from (value.strip(), " ".join(value.split()), tight)
    if length := re.fullmatch(r"([0-9]+)(\.5)?\s*(s|m|h|d)[a-z]*", value.strip().lower()):
        number, half, unit = length.groups()
        smaller = {"d": (24, "h"), "h": (60, "m"), "m": (60, "s")}.get(unit)
        yield (
            f"{number}{unit}" if not half else f"{int((int(number) + 0.5) * smaller[0])}{smaller[1]}" if smaller else ""
        )
    yield re.sub(r"(?i)(?<=[0-9])([kmgt])(i?)b?$", lambda unit: unit[1].upper() + unit[2].lower(), tight)
    yield re.sub(r"[\s_]+", "-", value.strip().lower())
    if "://" in value:
        # Scheme and host are the same in any case; a base address has neither query nor fragment.
        scheme, _, rest = re.sub(r"[?#].*", "", tight).partition("://")
        host, slash, tail = rest.partition("/")
        yield f"{scheme.lower()}://{host.lower()}{slash}{tail}"
    else:
        yield f"https://{tight}" if tight.startswith("git") or ":" not in tight else f"http://{tight}"
    yield re.sub(r"(@sha256:[0-9a-f]+|:[\w.-]+)$", "", tight.lower())


def plain(key: str) -> str:
    """Return the words of a key without case, dashes and underscores."""
    return re.sub(r"[^a-z0-9]", "", key.lower())
