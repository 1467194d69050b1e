"""Rules on `evaluation.data`: one source, which the pods can reach, and no setting without effect."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from components.settings import keys
from components.settings.check_models import check_network
from components.settings.group import Group
from components.settings.model import EvaluationSettings
from components.settings.problems import Problem, full_key, problem, rm_command, set_command

Found = Iterator[Problem]
Key = list[str | int]
PATH: Final = ("evaluation", "data")
WAYS: Final = ("claim", "image", "url")


def check_sources(evaluation: EvaluationSettings) -> Found:
    """Refuse two sources, no source, and a cache without a hub."""
    data = evaluation.data
    if data is None:
        return
    path: Key = [*PATH]
    if data.hub is not None and data.bundle is not None:
        fault = "hub and bundle exclude each other: a bundle is there so that no hub is asked"
        yield problem([*path, "bundle"], _given(data.bundle), fault, rm_command([*path, "hub"]))
    if data.hub is None and data.bundle is None:
        yield problem(path, _given(data), "has neither hub nor bundle", rm_command(path))
    if data.cache is not None and data.hub is None:
        fault = "caches what a hub sends, but no hub is set"
        yield problem([*path, "cache"], data.cache, fault, rm_command([*path, "cache"]))


def check_hub_way(evaluation: EvaluationSettings) -> Found:
    """Refuse a hub that the pods cannot reach, and a CA without effect."""
    hub = evaluation.data.hub if evaluation.data is not None else None
    if hub is None:
        return
    path: Key = [*PATH, "hub"]
    yield from check_network([*path, "network"], hub.network)
    url = urlsplit(hub.endpoint)
    port = url.port or (443 if url.scheme == "https" else 80)
    if hub.network.cidr is not None and hub.network.port != port:
        fault = f"the hub uses port {port}, which this network does not open"
        where: Key = [*path, "network", "port"]
        yield problem(where, hub.network.port, fault, set_command(where, port))
    if "@" in url.netloc:
        cure = f"take it out and run {set_command([keys.HUGGINGFACE_TOKEN], '', secret=True)}"
        yield Problem(full_key([*path, "endpoint"]), "", "a credential in the address", cure)
    if hub.ca is not None and url.scheme != "https":
        yield problem([*path, "ca"], hub.ca.secret, "a CA has no effect on plain HTTP", rm_command([*path, "ca"]))


def check_bundle_way(evaluation: EvaluationSettings) -> Found:
    """Refuse a bundle without a place or with several places, and one that the pods cannot reach."""
    bundle = evaluation.data.bundle if evaluation.data is not None else None
    if bundle is None:
        return
    path: Key = [*PATH, "bundle"]
    given = [name for name in WAYS if getattr(bundle, name) is not None]
    if len(given) != 1:
        cure = rm_command([*path, given[0]]) if given else set_command([*path, "claim"], "benchmarks")
        yield problem(path, _given(bundle), "needs exactly one of claim, image and url", cure)
        return
    if bundle.network is not None and bundle.url is None:
        where: Key = [*path, "network"]
        yield problem(where, bundle.network.port, "has no effect without url", rm_command(where))
    if bundle.url is None:
        return
    where = [*path, "url"]
    if "@" in urlsplit(bundle.url).netloc:
        cure = "take it out; evaluation.account_annotations gives the pods a cloud identity"
        yield Problem(full_key(where), "", "a credential in the address", cure)
    if bundle.network is not None:
        yield from check_network([*path, "network"], bundle.network)
    elif not bundle.url.startswith(("file:", "local:")) and not evaluation.egress:
        port = urlsplit(bundle.url).port or 443
        cure = f"write evaluation.data.bundle.network: {{cidr: 0.0.0.0/0, port: {port}}} in the stack file"
        yield problem(where, bundle.url, "the pods may not reach it: nothing is open to it", cure)


def check_huggingface(evaluation: EvaluationSettings, secrets: Mapping[str, str]) -> Found:
    """Refuse two tokens, and a token that is never sent to a hub."""
    path: Key = ["evaluation", "huggingface_token"]
    token = evaluation.huggingface_token
    if token is not None and keys.HUGGINGFACE_TOKEN in secrets:
        fault = f"the secret {keys.HUGGINGFACE_TOKEN} is set as well"
        yield problem(path, token.secret, fault, rm_command(path))
    if evaluation.data is not None and evaluation.data.hub is not None:
        return
    fault = "has no effect: pods ask no hub without evaluation.data.hub"
    cure = "write evaluation.data.hub: {network: {cidr: 0.0.0.0/0, port: 443}}, or "
    if token is not None:
        yield problem(path, token.secret, fault, f"{cure}{rm_command(path)}")
    elif keys.HUGGINGFACE_TOKEN in secrets:
        key = full_key([keys.HUGGINGFACE_TOKEN])
        yield Problem(key, "", fault, f"{cure}pulumi config rm {key}")


def _given(group: Group) -> object:
    return group.model_dump(mode="json", exclude_defaults=True)


DATA_CHECKS: Final[tuple[Callable[..., Found], ...]] = (
    check_sources,
    check_hub_way,
    check_bundle_way,
    check_huggingface,
)
