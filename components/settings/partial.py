"""The valid part of settings that are partly invalid, so that every fault is reported at once.

An invalid or missing value leaves a hole: reading it raises :class:`UnknownValueError`,
which ends the check that reads it and no other.
"""

import copy
import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from components.settings.group import UnknownValueError
from components.settings.problems import Path
from components.settings.translate import field_at

__all__ = ["UnknownValueError", "is_whole", "known_part"]


def known_part(model: type[BaseModel], raw: object, faults: Iterable[tuple[str, Path]]) -> BaseModel | None:
    """Return a group without the values at `faults` (kind and path each), or None if nothing of it can be read."""
    faults = list(faults)
    if not isinstance(raw, dict) or any(not path for _, path in faults):
        return None
    left: dict[str, Any] = copy.deepcopy(raw)
    holes: list[Path] = []
    for kind, path in faults:
        if kind == "extra_forbidden":
            _take_out(left, path)
            continue
        field = _field_path(model, path)
        holes.append(field)
        if _take_out(left, field) and (example := _example(model, field)) is not None:
            _put(left, field, example)
    try:
        found = model.model_validate_json(json.dumps(left))
    except (ValidationError, ValueError):
        return None
    for path in holes:
        _leave_hole(found, path)
    return found


def is_whole(group: BaseModel) -> bool:
    """Return whether nothing of a group was left out."""
    values = vars(group)
    inner = [each for each in values.values() if isinstance(each, BaseModel)]
    return values.keys() >= type(group).model_fields.keys() and all(map(is_whole, inner))


def _field_path(model: type[BaseModel], path: Path) -> Path:
    """Return the part of a path that names a field; of a free map (labels), that is the map."""
    for end in range(len(path), 0, -1):
        if isinstance(path[end - 1], str) and field_at(model, path[:end])[0] is not None:
            return path[:end]
    return path[:1]


def _take_out(raw: Any, path: Path) -> bool:  # noqa: ANN401 (JSON)
    """Remove the value at a path; return whether the object around it exists."""
    for part in path[:-1]:
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):
            return False
    if not isinstance(raw, dict):
        return False
    raw.pop(path[-1], None)
    return True


def _put(raw: Any, path: Path, value: object) -> None:  # noqa: ANN401 (JSON)
    for part in path[:-1]:
        raw = raw[part]
    raw[path[-1]] = value


def _example(model: type[BaseModel], path: Path) -> object:
    """Return a placeholder for a required value until the hole is made; None for an optional one."""
    field, _ = field_at(model, path)
    return field.examples[0] if field is not None and field.is_required() else None


def _leave_hole(found: Any, path: Path) -> None:  # noqa: ANN401 (a group)
    for part in path[:-1]:
        try:
            found = found[part] if isinstance(part, int) else vars(found)[_name(found, part)]
        except (KeyError, IndexError, TypeError):
            return  # it left with a hole around it
    if isinstance(found, BaseModel):
        vars(found).pop(_name(found, str(path[-1])), None)


def _name(model: BaseModel, written: str) -> str:
    """Return the attribute of a key, which may be in camel case."""
    return next((name for name, field in type(model).model_fields.items() if written in (field.alias, name)), written)
