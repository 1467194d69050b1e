"""Reads a stack file as Pulumi itself does, so that both judge the same values."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Final

import yaml

from components.labels import PROJECT
from components.settings.load import GROUPS, MODELS
from components.settings.meant import ALIKE
from components.settings.problems import Path, Problem, SettingsError, full_key, shown

DATE: Final = ("a date, where a text is needed", "quote it in the stack file, or set it with --type string")
GROUP_NAMES: Final = (*GROUPS, MODELS)
# The keys of a stack file that Pulumi knows.
TOP: Final = ("config", "environment", "secretsprovider", "encryptedkey", "encryptionsalt")


class _Loader(yaml.SafeLoader):
    """YAML as Go's yaml.v3 reads it into values of any type: `no` and `1:30` are texts, and no key stands twice.

    The runner's loader (`vllm_eval.strict`) reads as lm_eval does, to which `no` is false, and the program may not
    import it.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 -- PyYAML's
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in {"bool", "int"}]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                line = key.start_mark.line + 1
                if key.value in seen:
                    raise _TwiceError(key.value, seen[key.value], line)
                seen[key.value] = line
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(0b[01_]+|0o?[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$"),
    list("-+0123456789"),
)


class _TwiceError(Exception):
    def __init__(self, key: str, first: int, second: int) -> None:
        self.key, self.lines = key, (first, second)
        super().__init__(key)


def parse(stack: str, text: str | bytes) -> tuple[dict[str, Any], list[Problem]]:
    """Return a stack file as an object whose `config` has full keys, and what Pulumi would refuse or pass over in it.

    Raises
    ------
    SettingsError
        The text is no YAML, or nothing of it can be read.
    """
    name = f"Pulumi.{stack}.yaml"
    try:
        file = yaml.load(text, _Loader)  # noqa: S506 -- a SafeLoader
    except _TwiceError as error:
        first, second = error.lines
        fault = f"stands twice, in lines {first} and {second}"
        raise SettingsError(stack, [Problem(error.key, "", fault, f"keep one of them in {name}")]) from None
    except yaml.reader.ReaderError as error:
        fault = f"is no text in UTF-8: {error.reason} at character {error.position}"
        raise SettingsError(stack, [Problem(name, "", fault, "save it as UTF-8")]) from None
    except yaml.YAMLError as error:
        # Only the problem and the line number: the line itself may hold a credential.
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        fault = f"is no YAML: {getattr(error, 'problem', None) or 'a character that it does not permit'}{where}"
        raise SettingsError(stack, [Problem(name, "", fault, "correct that line; YAML indents with blanks")]) from None
    known = isinstance(file, dict) and any(key in TOP or _group(key) for key in file)
    if not known or not isinstance(file.get("config") or {}, dict):
        fault = "must be an object with the key config, which holds the settings by name"
        raise SettingsError(stack, [Problem(name, "", fault, "begin as Pulumi.dev.yaml does")])
    # A group beside config is checked as if it were in config.
    beside = {f"{PROJECT}:{group}": each for key, each in file.items() if (group := _group(key))}
    config = {
        str(key) if ":" in str(key) else f"{PROJECT}:{key}": each for key, each in (file.get("config") or {}).items()
    }
    problems = [*_top(file), *_names(config), *_dates(config)]
    return {**file, "config": {**beside, **config}}, problems


def _group(key: object) -> str | None:
    """Return the group that a key at the top of the file was meant to be."""
    bare = str(key).removeprefix(f"{PROJECT}:")
    return bare if bare in GROUP_NAMES else None


def _top(file: dict[str, Any]) -> Iterator[Problem]:
    for key, value in file.items():
        # As in Compose files, such keys may hold YAML anchors; Pulumi expands their aliases.
        if key in TOP or str(key).startswith("x-"):
            continue
        if group := _group(key):
            cure = f"indent it below config:, as {PROJECT}:{group}"
        else:
            known = difflib.get_close_matches(str(key), TOP, n=1, cutoff=ALIKE)
            cure = f"rename it to {known[0]}" if known else "take it out"
        fault = "unknown at the top of a stack file, so it has no effect"
        yield Problem(str(key), shown([str(key)], value), fault, cure)


def _names(config: dict[str, Any]) -> Iterator[Problem]:
    """Yield keys whose namespace is a misspelling of the project's: Pulumi would treat them as another program's."""
    for key, value in config.items():
        namespace, _, name = key.partition(":")
        alike = re.sub(r"[^a-z]", "", namespace.lower()) in {"vllmeval", "vllm", "eval"}
        if namespace != PROJECT and alike and name in GROUP_NAMES:
            yield Problem(key, shown([name], value), "is not a key of this program", f"rename it to {PROJECT}:{name}")


def _dates(value: object, path: Path = ()) -> Iterator[Problem]:
    """Yield values that YAML reads as dates, which JSON does not have."""
    if isinstance(value, date):
        yield Problem(full_key(path), str(value), *DATE)
    elif isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            part = key if isinstance(key, int) else str(key).removeprefix(f"{PROJECT}:")
            yield from _dates(key, (*path, part))
            yield from _dates(each, (*path, part))


def as_pulumi_gives(config: Mapping[str, Any]) -> dict[str, str]:
    """Return each value as the text that Pulumi hands to a program."""
    return {
        key: each if isinstance(each, str) else json.dumps(_json(each), default=str) for key, each in config.items()
    }


def _json(value: Any) -> Any:  # noqa: ANN401 (YAML)
    """Return a value whose keys are all texts."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): _json(each) for key, each in value.items()}
    return [_json(each) for each in value] if isinstance(value, list) else value
