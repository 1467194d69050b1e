"""The table of all settings in the docs, made from the models: `make generate` writes it."""

import json
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from components.settings import keys
from components.settings.load import GROUPS, MODELS
from components.settings.meant import fields_of, model_of
from components.settings.model import Model

FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "settings.md"

HEAD: Final = """\
# Settings of a stack

Made from `components/settings/model.py` by `make generate`. A stack file needs only what
differs from the defaults; how to set what is in `operations.md`.
"""


def text() -> str:
    """Return the document."""
    parts = [HEAD]
    for name, model in GROUPS.items():
        parts.append(_section(f"vllm-eval:{name}", model))
    parts.append(_section(f"vllm-eval:{MODELS}[…]", Model))
    rows = [f"| `vllm-eval:{key}` | {meaning} |" for key, meaning in keys.SECRETS.items()]
    rows += [f"| `vllm-eval:{prefix}<name>` | {meaning} |" for prefix, meaning in keys.PREFIXES.items()]
    parts.append("\n".join(["## Secrets", "", "| key | meaning |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _section(title: str, model: type[BaseModel]) -> str:
    about = (model.__doc__ or "").strip().splitlines()[0]
    lines = [f"## `{title}`", "", about, "", "| key | default | meaning |", "|---|---|---|"]
    lines += [f"| `{key}` | {default} | {meaning} |" for key, default, meaning in _rows(model, "")]
    return "\n".join(lines) + "\n"


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in fields_of(model).items():
        inner = model_of(field.annotation)
        if inner is None:
            yield f"{prefix}{name}", _default(field), _meaning(field)
        else:
            several = typing.get_origin(field.annotation) is tuple
            if field.is_required() or several or field.default is None:
                yield f"{prefix}{name}", _default(field), _meaning(field)
            yield from _rows(inner, f"{prefix}{name}{'[…]' if several else ''}.")


def _meaning(field: FieldInfo) -> str:
    meaning = field.description or ""
    example = field.examples[0] if field.examples else None
    shown = example if isinstance(example, str) else json.dumps(example)
    return f"{meaning} Example: `{shown}`.".strip() if example is not None else meaning


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default is None:
        return "–"
    if isinstance(default, Enum):
        default = default.value
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"
