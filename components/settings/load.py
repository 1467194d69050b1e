"""Reads the stack's configuration once, and reports everything that is wrong with it together."""

import difflib
import functools
import json
import operator
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import pulumi
from pulumi.runtime import config as runtime_config
from pydantic import BaseModel, TypeAdapter, ValidationError

from components.labels import PROJECT
from components.settings import checks, meant, partial
from components.settings.keys import (
    ARGOCD_ADMIN_HASH,
    ENDPOINT_PREFIX,
    GIT_PASSWORD,
    GIT_SSH_KEY,
    HUGGINGFACE_TOKEN,
    PREFIXES,
    RECEIVER_PREFIX,
    REGISTRY_CREDENTIALS,
    SECRETS,
    Secrets,
    is_secret,
)
from components.settings.meant import ALIKE
from components.settings.model import ArgoCDSettings, Cluster, EvaluationSettings, Git, Image, Model, Settings
from components.settings.monitored import Monitoring
from components.settings.problems import Path, Problem, SettingsError, full_key, problem, set_command, shown
from components.settings.translate import field_cure, from_pydantic, place

GROUPS: Final[Mapping[str, type[BaseModel]]] = {
    "cluster": Cluster,
    "git": Git,
    "argocd": ArgoCDSettings,
    "evaluation": EvaluationSettings,
    "image": Image,
    "monitoring": Monitoring,
}
MODELS: Final = "models"
EVERY: Final[Mapping[str, type[BaseModel]]] = {**GROUPS, MODELS: Model}
PREFIXED: Final = tuple(f"{prefix}<name>" for prefix in PREFIXES)
# ${x}, {{ .x }}, $NAME and <name>, as templates and examples have them.
_PLACEHOLDER: Final = re.compile(r"\$\{|\{\{-? ?[.$]|\$[A-Z_]{2,}|<\w[\w -]*>")
_ModelList: Final = TypeAdapter(tuple[Model, ...])
_Value = TypeVar("_Value")


def load() -> Settings:
    """Return the settings of the stack that runs.

    Raises
    ------
    SettingsError
        With every problem: unknown and missing keys, values out of range, secrets
        in plain text or inside a group, and settings that contradict each other.
    """
    return parse(pulumi.get_stack(), pulumi.Config(PROJECT), _configured_keys())


def parse(stack: str, config: pulumi.Config, keys: Mapping[str, bool], *, sealed: bool = False) -> Settings:
    """Return the settings in `config`.

    Parameters
    ----------
    stack
        Name of the stack, which becomes the label ``stack`` of every series.
    config
        Where the values are read.
    keys
        Every key of the project that is set, without namespace, and whether it is a secret.
    sealed
        The secrets are still encrypted: what they hold is not checked.
    """
    problems = list(_key_problems(config, keys))
    groups = {name: _group(name, model, config, keys, problems) for name, model in GROUPS.items()}
    models = _models(config, keys, problems)
    given = {key: config.get(key) or "" for key, secret in keys.items() if secret and is_secret(key)}
    texts = None if sealed else given
    problems += checks.run({"stack": stack, "models": models, "secrets": given, "texts": texts, **groups})
    if problems:
        raise SettingsError(stack, problems)
    return Settings(
        stack=stack,
        models=told_apart(models or ()),
        secrets=_secrets(config, given),
        **groups,  # type: ignore[arg-type] # a group that failed is a problem
    )


def told_apart(models: Sequence[Model]) -> tuple[Model, ...]:
    """Return the models with a label `model` each: where a name stands for several tags, it is name and tag.

    The runner, the gateway's groups, the results folder and the joins of the alert rules know a model by its name
    alone (docs/adr/two-tags.md).
    """
    names = Counter(model.name for model in models)
    return tuple(
        model
        if names[model.name] == 1
        else model.model_copy(
            update={"name": f"{model.name}@{model.tag}", "served_name": model.served_name or model.name}
        )
        for model in models
    )


def _configured_keys() -> dict[str, bool]:
    """Return the project's keys; the SDK has no public way to list them."""
    every = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    names = sorted(key.removeprefix(f"{PROJECT}:") for key in every if key.startswith(f"{PROJECT}:"))
    return {name: runtime_config.is_config_secret(f"{PROJECT}:{name}") for name in names}


def _key_problems(config: pulumi.Config, keys: Mapping[str, bool]) -> list[Problem]:
    problems = []
    for key, secret in keys.items():
        if is_secret(key) and not secret:
            # The value is not shown: it is a secret, only not encrypted.
            fault = "in plain text in the stack file; replace the credential, since Git may hold it already"
            problems.append(Problem(full_key([key]), "", fault, set_command([key], "", secret=True)))
        elif not is_secret(key) and key not in {*GROUPS, MODELS}:
            value = "" if secret else shown([key], config.get(key))
            problems.append(Problem(f"{PROJECT}:{key}", value, "unknown key", _unknown_cure(key)))
        elif not is_secret(key) and secret:
            # Pulumi marks the whole object as secret, yet a secret inside it is printed in plain text (pulumi#7127).
            fault = "has a secret inside, which would be printed in plain text"
            cure = f"remove it there; secrets are keys of their own: {', '.join([*SECRETS, *PREFIXED])}"
            problems.append(Problem(full_key([key]), "", fault, cure))
    return problems


def _unknown_cure(key: str) -> str:
    known = [*GROUPS, MODELS, *SECRETS]
    if path := _forgotten(key):
        rest = key.removeprefix(str(path[0])).lstrip(".")
        return f"write {rest} below {PROJECT}:{path[0]} in the stack file (pulumi config set needs --path for it)"
    if (secret := key.replace("_", "-")) in SECRETS:
        return f"pulumi config rm '{PROJECT}:{key}', then {set_command([secret], '', secret=True)}"
    if owners := [group for group, model in GROUPS.items() if key in model.model_fields]:
        return f"move it below {PROJECT}:{owners[0]} in the stack file"
    if close := difflib.get_close_matches(key, known, n=1, cutoff=ALIKE):
        return f"rename it to {PROJECT}:{close[0]} in the stack file"
    return f"pulumi config rm '{PROJECT}:{key}' (known: {', '.join([*known, *PREFIXED])})"


def _forgotten(key: str) -> Path:
    """Return the path that a key was meant to be if `--path` was forgotten; empty for any other key."""
    parts = re.findall(r"[^.\[\]]+", key)
    path = tuple(int(part) if part.isdecimal() else part for part in parts)
    return path if len(path) > 1 and path[0] in {*GROUPS, MODELS} else ()


def _group(
    name: str, model: type[BaseModel], config: pulumi.Config, keys: Mapping[str, bool], problems: list[Problem]
) -> BaseModel | None:
    """Return a group of settings; of a group with faults, the part that is right."""
    raw = _read(name, config, keys, problems, default={})
    if raw is None:
        return None
    raw, faults = _judged(name, model, raw, keys, problems)
    return partial.known_part(model, raw, faults) if faults else model.model_validate_json(json.dumps(raw))


def _models(config: pulumi.Config, keys: Mapping[str, bool], problems: list[Problem]) -> tuple[Model, ...] | None:
    raw = _read(MODELS, config, keys, problems, default=[])
    if raw is None:
        return None
    raw, faults = _judged(MODELS, Model, raw, keys, problems)
    if not isinstance(raw, list):
        return None
    known = [
        partial.known_part(Model, each, [(kind, path[1:]) for kind, path in faults if path[0] == index])
        for index, each in enumerate(raw)
    ]
    # Without an entry of which nothing can be read, the indices of the others would be wrong.
    return None if None in known else tuple(each for each in known if isinstance(each, Model))


def _judged(
    name: str, model: type[BaseModel], raw: object, keys: Mapping[str, bool], problems: list[Problem]
) -> tuple[Any, list[tuple[str, Path]]]:
    """Return a group with each value under its intended key, and kind and path of each value that is itself wrong."""
    raw, found = meant.straightened(raw, model, (name,))
    left_open = [(name, *path) for path in _placeholders(raw)]
    for path in left_open:
        value = functools.reduce(operator.getitem, path[1:], raw)  # type: ignore[arg-type] # any JSON
        cure = field_cure(model, path, value)
        found.append(problem(path, value, "is a placeholder: nothing fills it in a stack file", cure))
    # What is reported already is not reported again, and the checks do not see it.
    told = [*left_open, *((name, *path) for path in _sealed(raw)), *map(_forgotten, keys)]
    faults: list[tuple[str, Path]] = [("told", path[1:]) for path in told if path and path[0] == name]
    try:
        # JSON mode: lists become tuples and texts enums, and nothing else is converted.
        (_ModelList if name == MODELS else TypeAdapter(model)).validate_json(json.dumps(raw), strict=True)
    except ValidationError as error:
        for item, each in zip(
            error.errors(include_url=False), from_pydantic(error, name, model, raw, EVERY), strict=True
        ):
            if not any((name, *place(item))[: len(path)] == path for path in told if path):
                found.append(each)
                faults.append((item["type"], place(item)))
    problems += _safe(found, keys.get(name, False))
    return raw, faults


def _placeholders(raw: object, path: Path = ()) -> Iterator[Path]:
    """Yield the paths of texts that a template should have filled in, except where other programs may fill them in."""
    if isinstance(raw, str) and _PLACEHOLDER.search(raw):
        yield path
    elif isinstance(raw, dict):
        for key, each in raw.items():
            if key not in {"values", "generation", "think_end_token", "pod"}:
                yield from _placeholders(each, (*path, key))
    elif isinstance(raw, list):
        for index, each in enumerate(raw):
            yield from _placeholders(each, (*path, index))


def _sealed(raw: object, path: Path = ()) -> Iterator[Path]:
    """Yield the paths of encrypted values, which `_key_problems` reports."""
    if isinstance(raw, dict) and list(raw) == ["secure"] and isinstance(raw["secure"], str):
        yield path
    elif isinstance(raw, dict | list):
        for key, each in raw.items() if isinstance(raw, dict) else enumerate(raw):
            yield from _sealed(each, (*path, key))


def _read(
    name: str, config: pulumi.Config, keys: Mapping[str, bool], problems: list[Problem], default: _Value
) -> Any | None:  # noqa: ANN401 (JSON is any of its types)
    text = config.get(name) if name in keys else None
    # An empty value of the stack file arrives as an empty text or as null, depending on Pulumi's version.
    if text is None or text.strip() in {"", "null"}:
        return default
    try:
        return json.loads(text)
    except ValueError:
        kind = "a list" if isinstance(default, list) else "an object"
        value = "" if keys[name] else text
        problems.append(
            problem([name], value, f"must be {kind}, not a text", f"write {name}: as {kind} in the stack file")
        )
        return None


def _safe(found: list[Problem], secret: bool) -> list[Problem]:
    """Drop the values of a group that contains a secret."""
    return [Problem(each.key, "", each.fault, each.cure) if secret else each for each in found]


def _secrets(config: pulumi.Config, given: Mapping[str, str]) -> Secrets:
    def one(key: str) -> pulumi.Output[str] | None:
        return config.require_secret(key) if key in given else None

    def named(prefix: str) -> dict[str, pulumi.Output[str]]:
        return {key.removeprefix(prefix): config.require_secret(key) for key in given if key.startswith(prefix)}

    return Secrets(
        endpoint=named(ENDPOINT_PREFIX),
        receiver=named(RECEIVER_PREFIX),
        git_password=one(GIT_PASSWORD),
        git_ssh_key=one(GIT_SSH_KEY),
        huggingface_token=one(HUGGINGFACE_TOKEN),
        registry_credentials=one(REGISTRY_CREDENTIALS),
        argocd_admin_hash=one(ARGOCD_ADMIN_HASH),
    )
