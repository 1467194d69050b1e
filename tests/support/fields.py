"""Settings by their paths: every one, how one is set and taken away, and what a person does who reads a cure."""

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pydantic
import yaml

from components.labels import PROJECT
from components.settings import Problem, meant
from components.settings.load import GROUPS
from components.settings.model import Model
from components.settings.pod import Pod
from components.settings.secret_key import SecretKey

Path = tuple[str | int, ...]

COMMAND = re.compile(r"pulumi config (rm|set) --path( --type string)? '([^']+)'(?: (?:'([^']*)'|([\w./:@+-]+)))?")
IN_PLACE = re.compile(r"(?:rename it to|write) ([\w.]+)(?:: (.+?))? in (?:its place in )?the stack file")
SECRET = re.compile(r"pulumi config set --secret (vllm-eval:[\w-]+)")
BELOW = re.compile(r"write ([\w.]+) below (\w+) in the stack file")
WHOLE = re.compile(r"in the stack file(?:, for example|:|, each entry after a dash:) ([\[{].*)$")


def follow(stack: dict[str, Any], told: Problem) -> bool:
    """Do what a cure says, as far as it can be done without the person who wrote the file; return whether it was."""
    path = parts(told.key)
    commands = list(COMMAND.finditer(told.cure))
    for does, typed, key, quoted, word in (each.groups(default="") for each in commands):
        if does == "rm":
            take(stack["config"], key)
            continue
        value: Any = quoted or word
        if not typed and re.fullmatch(r"true|false|[1-9][0-9]*", value):
            value = json.loads(value)
        put(stack["config"], key, value)
    if secret := SECRET.search(told.cure):
        named = at(stack["config"], path[:-1])["name"] if secret[1].endswith("-NAME") else ""
        stack["config"][secret[1].replace("NAME", named)] = {"secure": "v1:x"}
    if commands or secret:
        return True
    if whole := WHOLE.search(told.cure):
        put(stack["config"], path, json.loads(whole[1]))
        return True
    moved = BELOW.search(told.cure) or IN_PLACE.search(told.cure)
    if moved is None or path[0] not in stack["config"]:
        return False
    if moved[2] is not None and moved[1].partition(".")[0] in GROUPS:  # another setting than the one that is told
        put(stack["config"], f"{PROJECT}:{moved[1]}", yaml.safe_load(moved[2]))
        return True
    holder = at(stack["config"], path[:-1])
    given = holder.pop(path[-1])
    if moved.re is BELOW:
        put(holder, (moved[2], *moved[1].split(".")), given)
    else:
        holder[moved[1]] = given if moved[2] is None else json.loads(moved[2])
    return True


def fields(model: type[pydantic.BaseModel], path: Path) -> Iterator[Path]:
    """Yield the path of every field of a model and of the models inside it."""
    for name, field in meant.fields_of(model).items():
        yield (*path, name)
        inner = meant.model_of(field.annotation)
        # A pod's own fields are held by test_pod.py; a secret of others is one way to write the field.
        if inner is not None and inner not in {Pod, SecretKey}:
            index: Path = (0,) if str(field.annotation).startswith("tuple[") else ()
            yield from fields(inner, (*path, name, *index))


EVERY_FIELD = [
    *(path for name, model in GROUPS.items() for path in fields(model, (name,))),
    *fields(Model, ("models", 0)),
]


def parts(key: str) -> tuple[Any, ...]:
    """Return the parts of a key such as ``vllm-eval:models[0].network["a.b"]``, the project's name with the first."""
    found = re.findall(r"^[\w-]+:[\w-]+|\"[^\"]+\"|[\w-]+", key)
    return tuple(json.loads(part) if re.match(r"\"|\d+$", part) else part for part in found)


def at(value: Any, path: Path) -> Any:  # noqa: ANN401 (JSON)
    for part in path:
        value = value[part]
    return value


def put(value: Any, key: str | Path, given: object) -> None:  # noqa: ANN401 (JSON)
    """Set a value as `pulumi config set --path` does; the key as `parts` reads it, or its parts."""
    path = parts(key) if isinstance(key, str) else key
    for part, following in itertools.pairwise(path):
        if isinstance(value, dict):
            value[part] = value.get(part) or ([] if isinstance(following, int) else {})
        elif part == len(value):
            value.append({})
        value = value[part]
    if isinstance(value, list) and path[-1] == len(value):
        value.append(given)
    else:
        value[path[-1]] = given


def take(value: Any, key: str | Path) -> None:  # noqa: ANN401 (JSON)
    """Take a value away, if it is there, as `pulumi config rm --path` does."""
    path = parts(key) if isinstance(key, str) else key
    with suppress(KeyError, IndexError):
        del at(value, path[:-1])[path[-1]]
