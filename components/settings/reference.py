"""The table of all settings in the docs, in English and Korean, made from the models: `make generate` writes it."""

import json
import typing
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from components.settings import keys
from components.settings.korean import HEAD as KOREAN_HEAD
from components.settings.korean import KOREAN
from components.settings.load import GROUPS, MODELS
from components.settings.meant import fields_of, model_of
from components.settings.model import Model

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"

HEAD: Final = """\
# Settings of a stack

Made from `components/settings/model.py` by `make generate`. 한국어: [ko/settings.md](ko/settings.md). A stack file
needs only what differs from the defaults; how to set what is in [operations.md](operations.md).
"""


def english() -> str:
    """Return `docs/settings.md`."""
    return _text(HEAD, str)


def korean() -> str:
    """Return `docs/ko/settings.md`.

    Raises
    ------
    KeyError
        With a sentence that `components/settings/korean.py` lacks.
    """
    return _text(KOREAN_HEAD, _in_korean)


FILES: Final[dict[Path, Callable[[], str]]] = {DOCS / "settings.md": english, DOCS / "ko" / "settings.md": korean}


def _in_korean(text: str) -> str:
    if text not in KOREAN:
        raise KeyError(f"components/settings/korean.py has no Korean for {text!r}: add a line")
    return KOREAN[text]


def _text(head: str, t: Callable[[str], str]) -> str:
    parts = [head]
    for name, model in GROUPS.items():
        parts.append(_section(f"vllm-eval:{name}", model, t))
    parts.append(_section(f"vllm-eval:{MODELS}[…]", Model, t))
    rows = [f"| `vllm-eval:{key}` | {t(meaning)} |" for key, meaning in keys.SECRETS.items()]
    rows += [f"| `vllm-eval:{prefix}<name>` | {t(meaning)} |" for prefix, meaning in keys.PREFIXES.items()]
    heads = [f"## {t('Secrets')}", "", f"| {t('key')} | {t('meaning')} |", "|---|---|"]
    parts.append("\n".join([*heads, *rows]) + "\n")
    return "\n".join(parts)


def _section(title: str, model: type[BaseModel], t: Callable[[str], str]) -> str:
    about = (model.__doc__ or "").strip().splitlines()[0]
    heads = f"| {t('key')} | {t('default')} | {t('meaning')} |"
    lines = [f"## `{title}`", "", t(about), "", heads, "|---|---|---|"]
    lines += [f"| `{key}` | {default} | {meaning} |" for key, default, meaning in _rows(model, "", t)]
    return "\n".join(lines) + "\n"


def _rows(model: type[BaseModel], prefix: str, t: Callable[[str], str]) -> Iterator[tuple[str, str, str]]:
    for name, field in fields_of(model).items():
        inner = model_of(field.annotation)
        if inner is None:
            yield f"{prefix}{name}", _default(field, t), _meaning(field, t)
        else:
            several = typing.get_origin(field.annotation) is tuple
            if field.is_required() or several or field.default is None:
                yield f"{prefix}{name}", _default(field, t), _meaning(field, t)
            yield from _rows(inner, f"{prefix}{name}{'[…]' if several else ''}.", t)


def _meaning(field: FieldInfo, t: Callable[[str], str]) -> str:
    meaning = t(field.description) if field.description else ""
    example = field.examples[0] if field.examples else None
    shown = example if isinstance(example, str) else json.dumps(example)
    return f"{meaning} {t('Example')}: `{shown}`.".strip() if example is not None else meaning


def _default(field: FieldInfo, t: Callable[[str], str]) -> str:
    if field.is_required():
        return t("required")
    default = field.get_default(call_default_factory=True)
    if default is None:
        return "–"
    if isinstance(default, Enum):
        default = default.value
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"
