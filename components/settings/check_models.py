"""Rules on the list of models."""

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from pydantic import ValidationError

from components import patches
from components.settings import keys
from components.settings.model import Model, Network
from components.settings.problems import Problem, field_cure, full_key, problem, set_command
from vllm_eval import models as runner

Found = Iterator[Problem]
Key = list[str | int]

# The API server's limit is for all annotations of an object together.
LONGEST_LIST: Final = 240 * 1024


def network_address(path: Key, cidr: str) -> Found:
    """Refuse a CIDR with host bits or out of range."""
    try:
        ipaddress.ip_network(cidr)
    except ValueError as error:
        yield problem(path, cidr, f"no network address: {error}", set_command(path, "10.0.0.7/32"))


def check_models_given(models: Sequence[Model]) -> Found:
    """Refuse an empty list, one that is too long, and entries that a series could not tell apart."""
    if not models:
        fault = "no model: there is nothing to evaluate"
        yield Problem(full_key(["models"]), "", fault, set_command(["models", 0, "name"], "google/gemma-3-270m"))
    size = len(patches.models_json(models).encode())
    if size > LONGEST_LIST:
        fault = f"{size} bytes as an annotation of the Job, which holds {LONGEST_LIST}"
        yield Problem(full_key(["models"]), f"{len(models)} models", fault, "split the stack")
    for field in ("name", "tag"):
        first: dict[str, int] = {}
        for index, model in enumerate(models):
            value = getattr(model, field)
            if first.setdefault(value, index) != index:
                fault = f"models[{first[value]}] has the same {field}; their series could not be told apart"
                yield problem(
                    ["models", index, field], value, fault, set_command(["models", index, field], f"{value}-2")
                )


def check_models_network(models: Sequence[Model]) -> Found:
    """Refuse a network that is neither pods nor addresses, or both."""
    for index, model in enumerate(models):
        path: Key = ["models", index, "network"]
        network: Network = model.network
        if network.cidr is not None:
            yield from network_address([*path, "cidr"], network.cidr)
        if (network.namespace is None) == (network.cidr is None):
            given = network.model_dump(mode="json", exclude_defaults=True)
            fault = "needs either namespace (and labels), for pods of this cluster, or cidr"
            yield problem(path, given, fault, set_command([*path, "namespace"], "serving"))
        elif network.cidr is not None and network.labels:
            fault = "labels choose pods, and have no effect beside cidr"
            yield problem(
                [*path, "labels"], network.labels, fault, f"pulumi config rm --path '{full_key([*path, 'labels'])}'"
            )


def check_models_secrets(models: Sequence[Model], secrets: Mapping[str, str]) -> Found:
    """Refuse a model whose secret is not set, or unfit for it, and secrets that no model names."""
    used = set()
    for index, model in enumerate(models):
        for field in ("api_key", "ca"):
            name = getattr(model, field)
            key = f"{keys.ENDPOINT_PREFIX}{name}"
            used.add(key)
            if name is not None and key not in secrets:
                fault = f"the secret {key} is not set"
                yield problem(["models", index, field], name, fault, set_command([key], "", secret=True))
        if model.ca:
            yield from _check_ca(index, model, secrets.get(f"{keys.ENDPOINT_PREFIX}{model.ca}"))
    for key in sorted(secrets):
        if key.startswith(keys.ENDPOINT_PREFIX) and key not in used:
            cure = f"pulumi config rm {full_key([key])}"
            yield Problem(full_key([key]), "", "no model names it as api_key or ca", cure)


def _check_ca(index: int, model: Model, text: str | None) -> Found:
    key = f"{keys.ENDPOINT_PREFIX}{model.ca}"
    if text is not None and "-----BEGIN CERTIFICATE-----" not in text:
        fault = f"is the CA of models[{index}], but no certificate in PEM form"
        yield Problem(full_key([key]), "", fault, set_command([key], "", secret=True))
    if not model.endpoint.startswith("https:"):
        path: Key = ["models", index, "endpoint"]
        cure = set_command(path, model.endpoint.replace("http:", "https:"))
        yield problem(path, model.endpoint, "a CA has no effect on plain HTTP", cure)


def check_models_runner(models: Sequence[Model]) -> Found:
    """Refuse what the runner would refuse in the pod, hours later."""
    for index, model in enumerate(models):
        try:
            runner.Model.model_validate(patches.model_entry(model))
        except ValidationError as error:
            for item in error.errors(include_url=False):
                path: Key = ["models", index, *item["loc"]]
                fault = item["msg"].removeprefix("Value error, ")
                yield problem(path, item["input"], fault, field_cure(Model, path))


MODEL_CHECKS: Final[tuple[Callable[..., Found], ...]] = (
    check_models_given,
    check_models_network,
    check_models_secrets,
    check_models_runner,
)
