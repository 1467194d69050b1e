"""Strict reading of JSON, YAML and text, for all inputs."""

import json
import re
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError


class Strict(BaseModel):
    """Base of all inputs: frozen, unknown keys rejected, no silent conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def parse_json(text: str) -> Any:  # noqa: ANN401 - JSON is any of its types
    """Parse JSON and refuse duplicate keys, NaN and infinities.

    Raises
    ------
    ValueError
        With the position or the duplicated key.
    """
    return json.loads(text, object_pairs_hook=unique_pairs, parse_constant=refuse_constant)


def unique_pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object; a key that stands twice is a ``ValueError`` (``json`` silently takes the last)."""
    result = dict(items)
    if len(result) < len(items):
        seen: set[str] = set()
        twice = next(key for key, _ in items if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} is there twice")
    return result


def refuse_constant(name: str) -> None:
    """Refuse NaN and the infinities, which ``json`` takes and JSON does not have."""
    raise ValueError(f"{name} is not JSON")


class UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a mapping in which a key stands twice, of which YAML's own readers silently take the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 - as PyYAML has it
        """Read a mapping; before merges (``<<``), which may well repeat a key.

        Raises
        ------
        yaml.constructor.ConstructorError
            With the key and both lines.
        """
        node = super().compose_mapping_node(anchor)
        seen: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value!r} is there twice, in lines {seen[name]} and {line}; remove one",
                    problem_mark=key.start_mark,
                )
            seen[name] = line
        return node


def problems(error: ValidationError, prefix: str = "") -> list[str]:
    """Turn pydantic's errors into lines that name the key, the value and what is wrong."""
    lines = []
    for item in error.errors(include_url=False):
        path = ".".join([*([prefix] if prefix else []), *(str(part) for part in item["loc"])]) or "(whole document)"
        if item["type"] == "extra_forbidden":
            lines.append(f"{path}: unknown key; remove it or correct its name")
        elif item["type"] == "missing":
            lines.append(f"{path}: missing")
        else:
            message = item["msg"].removeprefix("Value error, ")
            # A value in place of the name of a secret may be the secret itself.
            got = "" if item["loc"][-1:] in {("api_key",), ("ca",)} else f" (got {shown(item['input'])})"
            lines.append(f"{path}: {message[:1].lower()}{message[1:]}{got}")
    return lines


def shown(value: object) -> str:
    """Show a value in an error message, cut to a line and without a URL's user and password."""
    text = without_credentials(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= 80 else f"{text[:77]}..."


def without_credentials(text: str) -> str:
    """Return ``text`` with the user and password of every URL in it taken out."""
    # Up to the last "@": a password may hold any character, written as it is by mistake.
    return re.sub(r"(?<=//)[^\s\"'<>]*@", "", text)


_SURROGATE = re.compile("[\ud800-\udfff]")


def whole_text(text: str) -> str:
    """Return ``text`` with each half of a surrogate pair, which is no character, replaced by U+FFFD."""
    return text if text.isascii() else _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def has_half_character(text: str) -> bool:
    """Whether ``text`` holds half of a surrogate pair, so that UTF-8 cannot encode it."""
    return _SURROGATE.search(text) is not None
