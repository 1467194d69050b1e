"""Reads the stack's configuration, once, and reports everything that is wrong with it at once."""

import json
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import pulumi
from pulumi.runtime import config as runtime_config
from pydantic import BaseModel, TypeAdapter, ValidationError

from components.labels import PROJECT
from components.settings import checks
from components.settings.keys import (
    ARGOCD_ADMIN_HASH,
    ENDPOINT_PREFIX,
    GIT_PASSWORD,
    GIT_SSH_KEY,
    HUGGINGFACE_TOKEN,
    REGISTRY_CREDENTIALS,
    SECRETS,
    Secrets,
    is_secret,
)
from components.settings.model import (
    ArgoCD,
    Cluster,
    Evaluation,
    Git,
    Image,
    Model,
    Monitoring,
    Settings,
)
from components.settings.problems import Problem, SettingsError, from_pydantic, full_key, problem, set_command

GROUPS: Final[Mapping[str, type[BaseModel]]] = {
    "cluster": Cluster,
    "git": Git,
    "argocd": ArgoCD,
    "evaluation": Evaluation,
    "image": Image,
    "monitoring": Monitoring,
}
MODELS: Final = "models"
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
    problems = list(_key_problems(keys))
    groups = {name: _group(name, model, config, keys, problems) for name, model in GROUPS.items()}
    models = _models(config, keys, problems)
    given = {key: config.get(key) or "" for key, secret in keys.items() if secret and is_secret(key)}
    texts = None if sealed else given
    problems += checks.run({"stack": stack, "models": models, "secrets": given, "texts": texts, **groups})
    if problems:
        raise SettingsError(stack, problems)
    return Settings(stack=stack, models=models or (), secrets=_secrets(config, given), **groups)  # type: ignore[arg-type] # a group that failed is a problem


def _configured_keys() -> dict[str, bool]:
    """Return the project's keys; the SDK has no public way to list them."""
    every = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    names = sorted(key.removeprefix(f"{PROJECT}:") for key in every if key.startswith(f"{PROJECT}:"))
    return {name: runtime_config.is_config_secret(f"{PROJECT}:{name}") for name in names}


def _key_problems(keys: Mapping[str, bool]) -> list[Problem]:
    problems = []
    for key, secret in keys.items():
        if is_secret(key) and not secret:
            # The value is not shown: it is a secret that only lacks its encryption.
            fault = "in plain text in the stack file; replace the credential, since Git may hold it already"
            problems.append(Problem(full_key([key]), "", fault, set_command([key], "", secret=True)))
        elif not is_secret(key) and key not in {*GROUPS, MODELS}:
            known = ", ".join([*GROUPS, MODELS, *SECRETS, f"{ENDPOINT_PREFIX}<name>"])
            fault = "unknown key"
            problems.append(
                Problem(full_key([key]), "", fault, f"pulumi config rm '{full_key([key])}' (known: {known})")
            )
        elif not is_secret(key) and secret:
            # Pulumi marks the whole object, yet a secret inside it would come out in plain text (pulumi#7127).
            fault = "has a secret inside, which would come out in plain text"
            cure = f"remove it there; secrets are keys of their own: {', '.join(SECRETS)}, {ENDPOINT_PREFIX}<name>"
            problems.append(Problem(full_key([key]), "", fault, cure))
    return problems


def _group(
    name: str, model: type[BaseModel], config: pulumi.Config, keys: Mapping[str, bool], problems: list[Problem]
) -> BaseModel | None:
    raw = _read(name, config, keys, problems, default={})
    if raw is None:
        return None
    try:
        # JSON mode: lists become tuples and texts enums, and nothing else is converted.
        return model.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        problems += _safe(from_pydantic(error, name, model, raw), keys.get(name, False))
        return None


def _models(config: pulumi.Config, keys: Mapping[str, bool], problems: list[Problem]) -> tuple[Model, ...] | None:
    raw = _read(MODELS, config, keys, problems, default=[])
    if raw is None:
        return None
    try:
        return _ModelList.validate_json(json.dumps(raw), strict=True)
    except ValidationError as error:
        problems += _safe(from_pydantic(error, MODELS, Model, raw), keys.get(MODELS, False))
        return None


def _read(
    name: str, config: pulumi.Config, keys: Mapping[str, bool], problems: list[Problem], default: _Value
) -> Any | None:  # noqa: ANN401 (JSON is any of its types)
    text = config.get(name) if name in keys else None
    if text is None:
        return default
    try:
        return json.loads(text)
    except ValueError:
        kind = "a list" if isinstance(default, list) else "an object"
        shown = "" if keys[name] else text
        problems.append(
            problem([name], shown, f"must be {kind}, not a text", f"write {name}: as {kind} in the stack file")
        )
        return None


def _safe(found: list[Problem], secret: bool) -> list[Problem]:
    """Drop the values of a group that holds a secret."""
    return [Problem(each.key, "", each.fault, each.cure) if secret else each for each in found]


def _secrets(config: pulumi.Config, given: Mapping[str, str]) -> Secrets:
    def one(key: str) -> pulumi.Output[str] | None:
        return config.require_secret(key) if key in given else None

    return Secrets(
        endpoint={
            key.removeprefix(ENDPOINT_PREFIX): config.require_secret(key)
            for key in given
            if key.startswith(ENDPOINT_PREFIX)
        },
        git_password=one(GIT_PASSWORD),
        git_ssh_key=one(GIT_SSH_KEY),
        huggingface_token=one(HUGGINGFACE_TOKEN),
        registry_credentials=one(REGISTRY_CREDENTIALS),
        argocd_admin_hash=one(ARGOCD_ADMIN_HASH),
    )
