"""What is wrong with the settings, in one shape: key, value, fault, cure."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi

from components.labels import PROJECT

Path = tuple[str | int, ...]

_LONGEST_VALUE: Final = 80
HIDDEN: Final = "(not shown)"
# The value of a key with such a name may be a credential, whatever it looks like.
_SECRET_NAME: Final = re.compile(r"key|token|passw|secret|credential|auth", re.IGNORECASE)
_CREDENTIAL: Final = re.compile(
    r"\b(sk|hf|ghp|gho|ghs|glpat|nvapi|xox[abp]|AKIA|eyJ|github_pat)[-_]?(?=[A-Za-z_-]*[A-Z0-9])[A-Za-z0-9_-]{6,}"
    r"|(?=[A-Za-z0-9_+/]*[0-9])(?=[A-Za-z0-9_+/]*[A-Za-z])[A-Za-z0-9_+]{24,}|-----BEGIN|hooks\.slack\.com"
)
# Everybody who knows the address of a receiver can write to it.
_ADDRESSEE: Final = re.compile(r"receiver|slack|hook", re.IGNORECASE)
_USERINFO: Final = re.compile(r"(?<=://)[^\s/@]*@")


@dataclass(frozen=True)
class Problem:
    """One fault of the settings.

    ``key`` is written as `pulumi config set --path` takes it; ``value`` is
    JSON, empty if nothing is set; ``cure`` is a command or a sentence.
    """

    key: str
    value: str
    fault: str
    cure: str

    def __str__(self) -> str:
        """Return the problem on two lines."""
        value = f" = {self.value}" if self.value else ""
        return f"  {self.key}{value}: {self.fault}\n      cure: {self.cure}"


class SettingsError(pulumi.RunError):
    """Every problem of the stack's settings at once; Pulumi prints it without a stack trace."""

    def __init__(self, stack: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"The settings of stack '{stack}' have {count}:", *map(str, problems)]))


def full_key(path: Sequence[str | int]) -> str:
    """Return a path such as ``("models", 0, "a.b")`` as ``vllm-eval:models[0]["a.b"]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if re.fullmatch(r"[\w-]+", part) else f"[{json.dumps(part, ensure_ascii=False)}]"
    return f"{PROJECT}:{text.removeprefix('.')}"


def set_command(path: Sequence[str | int], value: object, *, secret: bool = False) -> str:
    """Return the command that sets a key to a value."""
    if secret:
        return f"pulumi config set --secret {full_key(path)}"
    if isinstance(value, dict | list):
        return f"write it in the stack file, for example {written(path, value)}"
    # Without a type the CLI stores 1 as a number and true as a boolean.
    kind = " --type string" if isinstance(value, str) and _looks_typed(value) else ""
    return f"pulumi config set --path{kind} {_quoted(full_key(path))} {_word(value)}"


def credential_cure(path: Sequence[str | int], prefix: str) -> str:
    """Return the cure of a credential that was written in place of the name of its secret."""
    return f"{set_command(path, 'my-key')}, then {set_command([f'{prefix}my-key'], '', secret=True)}"


def rm_command(path: Sequence[str | int]) -> str:
    """Return the command that removes a key."""
    return f"pulumi config rm --path {_quoted(full_key(path))}"


def problem(path: Sequence[str | int], value: object, fault: str, cure: str) -> Problem:
    """Return a problem of a value that was read."""
    return Problem(full_key(path), shown(path, value), fault, cure)


def shown(path: Sequence[str | int], value: object) -> str:
    """Return a value as an error may show it: short, and without what may be a credential."""
    text = written(path, value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def written(path: Sequence[str | int], value: object) -> str:
    """Return a value as a cure writes it: whole, and without what may be a credential."""
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    addressed = any(isinstance(part, str) and _ADDRESSEE.search(part) for part in path)
    return json.dumps(_harmless(name, value, addressed=addressed), ensure_ascii=False, default=str)


def is_credential(text: str) -> bool:
    """Return whether a text looks like a credential itself, and not like the name of one."""
    return bool(_CREDENTIAL.search(text))


def _harmless(name: str, value: Any, *, addressed: bool) -> Any:  # noqa: ANN401 (JSON is any of its types)
    if isinstance(value, dict):
        inner = {key: addressed or bool(_ADDRESSEE.search(str(key))) for key in value}
        return {key: _harmless(str(key), each, addressed=inner[key]) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_harmless(name, each, addressed=addressed) for each in value]
    if not isinstance(value, str):
        return value
    if name == "think_end_token":  # a word of a model's, no secret
        return value
    # The name of a secret may be shown; a text that does not look like a name may be the secret itself.
    unnamed = _SECRET_NAME.search(name) and not re.fullmatch(r"[A-Za-z]{1,20}([-._/][A-Za-z0-9]{1,12})*", value)
    if unnamed or is_credential(value) or (addressed and "://" in value):
        return HIDDEN
    return _USERINFO.sub("…@", value)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _looks_typed(text: str) -> bool:
    return text in {"true", "false"} or bool(re.fullmatch(r"[-+]?[0-9][0-9_]*(\.[0-9]*)?|null|~", text))


def _word(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if re.fullmatch(r"[\w./:@-]+", text) else _quoted(text)
