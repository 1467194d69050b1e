"""Follows the cures of wrong settings, as the person would who reads them."""

import itertools
import json
import re
from typing import Any

from components.settings import Problem

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
        value: Any = (quoted or word) * (does == "set")
        if not typed and re.fullmatch(r"true|false|[1-9][0-9]*", value):
            value = json.loads(value)
        put(stack["config"], parts(key), value)
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
    holder = at(stack["config"], path[:-1])
    given = holder.pop(path[-1])
    if moved.re is BELOW:
        put(holder, [moved[2], *moved[1].split(".")], given)
    else:
        holder[moved[1]] = given if moved[2] is None else json.loads(moved[2])
    return True


def parts(key: str) -> list[Any]:
    """Return the parts of a key such as ``vllm-eval:models[0].network["a.b"]``; the first has the project's name."""
    found = re.findall(r"^[\w-]+:[\w-]+|\"[^\"]+\"|[\w-]+", key)
    return [json.loads(part) if re.match(r"\"|\d+$", part) else part for part in found]


def at(value: Any, path: list[Any]) -> Any:  # noqa: ANN401 (JSON)
    for part in path:
        value = value[part]
    return value


def put(value: Any, path: list[Any], given: object) -> None:  # noqa: ANN401 (JSON)
    """Set a value as `pulumi config set --path` does, or take it away where none is given."""
    for part, following in itertools.pairwise(path):
        if isinstance(value, dict):
            value[part] = value.get(part) or ([] if isinstance(following, int) else {})
        elif part == len(value):
            value.append({})
        value = value[part]
    if given == "" and (isinstance(value, list) or path[-1] in value):
        del value[path[-1]]
    elif given != "" and isinstance(value, list) and path[-1] == len(value):
        value.append(given)
    elif given != "":
        value[path[-1]] = given
