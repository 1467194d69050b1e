"""Properties of resources: on the wire, compared with each other, and compared with the cluster."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

Json: TypeAlias = Any  # JSON has no static shape: a name for it, so that `Any` means nothing else here
Object: TypeAlias = dict[str, Json]

# The engine's marks: of a value that a preview does not know, and of a secret.
UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 (a mark, no secret)
IDENTIFIER: Final = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Change:
    """One difference; `kind` is `ADD`, `DELETE` or `UPDATE`, `path` the engine's notation."""

    path: str
    kind: str


def read(struct: Struct) -> Object:
    """Return a message's values, secrets in plain. Its numbers are doubles: whole ones become integers again."""
    return dict(_plain(MessageToDict(struct)))


def write(value: Object, like: Struct | None = None) -> Struct:
    """Return a message that holds `value`; secret is what is secret in `like`, and what a Secret holds."""
    marked = _marked(value, MessageToDict(like or Struct()))
    if marked.get("kind") == "Secret" and "data" in marked:
        marked["data"] = {SIGNATURE: SECRET, "value": value["data"]}
    message = Struct()
    message.update(marked)
    return message


def pruned(value: Json) -> Json:
    """Return `value` without what is None: not declared."""
    if isinstance(value, dict):
        return {key: pruned(each) for key, each in value.items() if each is not None}
    return [pruned(each) for each in value] if isinstance(value, list) else value


def has_unknown(value: Json) -> bool:
    """Tell whether a part of `value` is not known yet."""
    return UNKNOWN in str(value)


def at(value: Json, path: str) -> Json:
    """Return what stands at a dotted path, or None."""
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def changes(old: Json, new: Json, path: str = "") -> Iterator[Change]:
    """Yield what differs, leaf by leaf."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = {_joined(path, key): (key in old, key in new, key) for key in sorted(old.keys() | new.keys())}
    elif isinstance(old, list) and isinstance(new, list):
        pairs = {f"{path}[{key}]": (key < len(old), key < len(new), key) for key in range(max(len(old), len(new)))}
    else:
        yield Change(path, "UPDATE")
        return
    for where, (before, after, key) in pairs.items():
        if before and after:
            yield from changes(old[key], new[key], where)
        else:
            yield Change(where, "DELETE" if before else "ADD")


def as_declared(live: Json, declared: Json, applied: Json) -> Json:
    """Return the live value of what was declared, and nothing that a server or another owner added.

    Parameters
    ----------
    live
        What is in the cluster.
    declared
        What the program says.
    applied
        What would be in the cluster were `declared` applied: where that is what
        is there, only the notation differs (`1000m` and `1`).
    """
    if live in (declared, applied):
        return declared
    if isinstance(live, dict) and isinstance(declared, dict):
        other = applied if isinstance(applied, dict) else {}
        seen = {key: as_declared(live[key], declared[key], other.get(key)) for key in declared if key in live}
        # What the server drops wherever it stands, such as an empty map, is no difference.
        return {**{key: value for key, value in declared.items() if key not in live and key not in other}, **seen}
    lists = [each for each in (live, declared, applied) if isinstance(each, list)]
    if len(lists) == 3 and len({len(each) for each in lists}) == 1:
        return [as_declared(*each) for each in zip(*lists, strict=True)]
    return live


def _plain(value: Json) -> Json:
    if isinstance(value, dict):
        if value.get(SIGNATURE) == SECRET:
            return _plain(value["value"])
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _marked(value: Json, like: Json) -> Json:
    if isinstance(like, dict) and like.get(SIGNATURE) == SECRET:
        return {SIGNATURE: SECRET, "value": value}
    if isinstance(value, dict) and isinstance(like, dict):
        return {key: _marked(each, like.get(key)) for key, each in value.items()}
    if isinstance(value, list) and isinstance(like, list):
        if len(value) == len(like):
            return [_marked(*each) for each in zip(value, like, strict=True)]
        if SECRET in str(like):  # it cannot be told which
            return {SIGNATURE: SECRET, "value": value}
    return value


def _joined(path: str, key: str) -> str:
    if not IDENTIFIER.fullmatch(key):
        return f'{path}["{key}"]'
    return f"{path}.{key}" if path else key
