"""Rules on the list of models."""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from components import patches
from components.settings import keys
from components.settings.meant import needed, network_cure
from components.settings.model import EvaluationSettings, Model
from components.settings.monitored import Monitoring, Network
from components.settings.partial import is_whole
from components.settings.problems import (
    HIDDEN,
    Path,
    Problem,
    credential_cure,
    full_key,
    is_credential,
    problem,
    rm_command,
    set_command,
)
from components.settings.translate import field_cure
from vllm_eval import models as runner
from vllm_eval.asking import Asking, check_block

Found = Iterator[Problem]
Key = list[str | int]

# A Service may lead to a gateway's pods in another namespace: KServe's and Knative's do.
GATEWAY: Final = re.compile(r"gateway|ingress|proxy|router|kourier|activator|envoy|istio|kong|nginx|traefik")
NO_EFFECT: Final = "has no effect without url"
# The API server's limit is for all annotations of an object together.
LONGEST_LIST: Final = 240 * 1024


def network_address(path: Key, cidr: str) -> Found:
    """Refuse a CIDR with host bits or out of range."""
    try:
        ipaddress.ip_network(cidr)
    except ValueError as error:
        yield problem(path, cidr, f"no network address: {error}", network_cure(path, cidr))


def check_models_given(models: Sequence[Model]) -> Found:
    """Refuse an empty list, and one that is too long."""
    if not models:
        fault = "no model: there is nothing to evaluate"
        yield Problem(full_key(["models"]), "", fault, set_command(["models"], [needed(Model)]))
    size = len(patches.models_json([each for each in models if is_whole(each)]).encode())
    if size > LONGEST_LIST:
        fault = f"{size} bytes as an annotation of the Job, which holds {LONGEST_LIST}"
        yield Problem(full_key(["models"]), f"{len(models)} models", fault, "split the stack")


def check_models_apart(models: Sequence[Model]) -> Found:
    """Refuse models whose series could not be told apart, and two entries that ask the same model."""
    tags: dict[str, int] = {}
    asked: dict[tuple[str, ...], int] = {}
    for index, model in enumerate(models):
        known = vars(model)
        if "tag" in known and tags.setdefault(model.tag, index) != index:
            fault = f"models[{tags[model.tag]}] has the same tag; their series could not be told apart"
            path: Key = ["models", index, "tag"]
            yield problem(path, model.tag, fault, set_command(path, f"{model.tag}-2"))
        elif {"name", "endpoint"} <= known.keys():
            same = (model.name, model.endpoint.rstrip("/"), known.get("served_name") or model.name)
            if asked.setdefault(same, index) != index:
                fault = f"models[{asked[same]}] asks the same endpoint for the same name: it is one model, not two tags"
                path = ["models", index, "served_name"]
                yield problem(path, same[2], fault, set_command(path, f"{model.name}-{known.get('tag', 'other')}"))


def check_models_network(index: int, model: Model) -> Found:
    """Refuse a network that is neither pods nor addresses, or both."""
    yield from check_network(["models", index, "network"], model.network)


def check_gateway(monitoring: Monitoring) -> Found:
    """Refuse an external gateway that the pods cannot reach, and settings of an own gateway beside it."""
    path: Key = ["monitoring", "pushgateway"]
    gateway = monitoring.pushgateway
    if gateway.url is None and gateway.network is not None:
        yield problem([*path, "network"], gateway.network.port, NO_EFFECT, rm_command([*path, "network"]))
    if gateway.url is None:
        return
    if gateway.network is None:
        example = {"namespace": "monitoring", "port": urlsplit(gateway.url).port or 9091}
        where: Key = [*path, "network"]
        yield Problem(full_key(where), "", "not set, but needed beside url", set_command(where, example))
    else:
        yield from check_network([*path, "network"], gateway.network)
    for name in sorted(gateway.model_fields_set - {"url", "network"}):
        where = [*path, name]
        yield problem(where, "…", "configures a gateway of the stack's own, which url replaces", rm_command(where))


def check_network(path: Key, network: Network) -> Found:
    """Refuse a network that is neither pods nor addresses, or both."""
    if network.cidr is not None:
        yield from network_address([*path, "cidr"], network.cidr)
    if (network.namespace is None) == (network.cidr is None):
        given = network.model_dump(mode="json", exclude_defaults=True)
        fault = "needs either namespace (and labels), for pods of this cluster, or cidr"
        cure = set_command([*path, "namespace"], "serving")
        yield problem(path, given, fault, f"{rm_command([*path, 'cidr'])}, or namespace" if network.cidr else cure)
    elif network.cidr is not None and network.labels:
        fault = "labels choose pods, and have no effect beside cidr"
        yield problem([*path, "labels"], network.labels, fault, rm_command([*path, "labels"]))


def check_models_way(index: int, model: Model, evaluation: EvaluationSettings) -> Found:
    """Refuse a network that does not lead to the endpoint: its requests would be dropped until the run gives up."""
    path: Key = ["models", index, "network"]
    network, url = model.network, urlsplit(model.endpoint)
    if (port := port_of(model.endpoint)) is None:
        return
    host = url.hostname or ""
    if host in {"localhost", "127.0.0.1", "::1", "0.0.0.0"}:  # noqa: S104 (a text)
        fault = "is the evaluation pod itself"
        cure = set_command(["models", index, "endpoint"], "http://vllm.serving.svc.cluster.local:8000/v1")
        yield problem(["models", index, "endpoint"], model.endpoint, fault, cure)
    elif network.cidr is not None:
        # At an address, the port is the endpoint's; the pods of a Service may listen on another one.
        if network.port != port:
            fault = f"the endpoint uses port {port}, which this network does not open"
            yield problem([*path, "port"], network.port, fault, set_command([*path, "port"], port))
        if _outside(host, network.cidr):
            cure = set_command([*path, "cidr"], f"{host}/{128 if ':' in host else 32}")
            yield problem([*path, "cidr"], network.cidr, f"the endpoint's address {host} is not in it", cure)
    elif network.namespace == evaluation.namespace:
        fault = (
            "is the evaluation's own namespace, where a NetworkPolicy keeps pods from reaching any but the stack's own"
        )
        cure = set_command(["evaluation", "namespace"], "evaluations")
        yield problem([*path, "namespace"], network.namespace, fault, cure)
    elif network.namespace is not None and not any(map(GATEWAY.search, network.labels.values())):
        service, _, rest = host.partition(".")
        # A name of two words may also be a domain.
        of = re.fullmatch(r"([a-z0-9-]+)\.svc(\..+)?", rest)
        namespace = of[1] if of else None if rest else evaluation.namespace
        if namespace is not None and namespace != network.namespace:
            fault = f"is a Service of the namespace {namespace}, but network.namespace opens {network.namespace}"
            full = f"{service}.{network.namespace}.svc.cluster.local"
            cure = set_command(["models", index, "endpoint"], model.endpoint.replace(host, full, 1))
            yield problem(["models", index, "endpoint"], model.endpoint, fault, cure)


def _outside(host: str, cidr: str) -> bool:
    try:
        return ipaddress.ip_address(host) not in ipaddress.ip_network(cidr)
    except ValueError:
        return False


def port_of(address: str) -> int | None:
    """Return the port of an address; None if it is no valid port."""
    try:
        url, port = urlsplit(address), urlsplit(address).port
    except ValueError:
        return None
    return (443 if url.scheme == "https" else 80) if port is None else port or None


def check_models_base(index: int, model: Model) -> Found:
    """Refuse an endpoint that is no address, and one without the API's version, where every request would get a 404."""
    url, path = urlsplit(model.endpoint), list[str | int](["models", index, "endpoint"])
    if port_of(model.endpoint) is None:
        host, _, port = url.netloc.rpartition(":")
        bare = f"[{host}]:{port}" if ":" in host and port.isdecimal() else host
        fault = "is no address: its port is no number from 1 to 65535; an IPv6 address stands in brackets"
        yield problem(path, model.endpoint, fault, set_command(path, f"{url.scheme}://{bare}{url.path}"))
    elif not re.search(r"/v[0-9]\w*(/|$)", url.path):
        fault = "is not the base of an OpenAI API, which ends in /v1"
        yield problem(path, model.endpoint, fault, set_command(path, f"{model.endpoint.rstrip('/')}/v1"))


def check_models_secrets(models: Sequence[Model], secrets: Mapping[str, str]) -> Found:
    """Refuse a model whose secret is not set, and secrets that no model names."""
    used = set()
    for index, model in enumerate(models):
        for field in ("api_key", "ca"):
            name = vars(model).get(field)
            if not isinstance(name, str):
                continue
            key = f"{keys.ENDPOINT_PREFIX}{name}"
            used.add(key)
            if key in secrets:
                continue
            path: Key = ["models", index, field]
            if is_credential(name):
                fault = "looks like a credential, not like the name of one; replace it, since Git may hold it already"
                yield Problem(full_key(path), HIDDEN, fault, credential_cure(path, keys.ENDPOINT_PREFIX))
            else:
                yield problem(path, name, f"the secret {key} is not set", set_command([key], "", secret=True))
    # A model that is partly invalid may name any of them.
    whole = all(vars(model).keys() >= {"api_key", "ca"} for model in models)
    for key in sorted(secrets):
        if whole and key.startswith(keys.ENDPOINT_PREFIX) and key not in used:
            yield Problem(
                full_key([key]), "", "no model names it as api_key or ca", f"pulumi config rm {full_key([key])}"
            )


def check_models_ca(index: int, model: Model) -> Found:
    """Refuse a CA bundle that has no effect."""
    if model.ca is not None and not model.endpoint.startswith("https:"):
        path: Key = ["models", index, "endpoint"]
        cure = set_command(path, model.endpoint.replace("http:", "https:"))
        yield problem(path, model.endpoint, "a CA has no effect on plain HTTP", cure)


def check_models_certificate(index: int, model: Model, texts: Mapping[str, str]) -> Found:
    """Refuse a CA bundle that is not in PEM form. Of a Secret of others, nothing is known here."""
    key = f"{keys.ENDPOINT_PREFIX}{model.ca}"
    if model.ca is not None and "-----BEGIN CERTIFICATE-----" not in texts.get(key, "-----BEGIN CERTIFICATE-----"):
        fault = f"is the CA of models[{index}], but no certificate in PEM form"
        yield Problem(full_key([key]), "", fault, set_command([key], "", secret=True))


def check_models_runner(index: int, model: Model) -> Found:
    """Refuse what the runner would refuse in the pod, hours later."""
    if not is_whole(model):
        return
    try:
        runner.Model.model_validate(patches.model_entry(model))
    except ValidationError as error:
        for item in error.errors(include_url=False):
            if not item["loc"]:
                continue  # check_models_block names the key
            path: Path = ("models", index, *item["loc"])
            if path[-1] == "endpoint" and port_of(model.endpoint) is None:
                continue  # check_models_base names it
            fault = item["msg"].removeprefix("Value error, ")
            yield problem(path, item["input"], fault, _runner_cure(path, item["input"]))


def check_models_block(index: int, model: Model) -> Found:
    """Refuse generation settings that the runner does not know, or that contradict each other."""
    known = vars(model)
    block = Asking(
        generation=known.get("generation") or {},
        # An invalid value may have meant any.
        reasoning=known.get("reasoning", "any"),
        think_end_token=known.get("think_end_token"),
    )
    for line in check_block(block, model.api.value):
        key, _, fault = line.partition(": ")
        path: Path = ("models", index, *key.split("."))
        given: Any = vars(model).get(str(path[2]))
        for part in path[3:]:
            given = given.get(part) if isinstance(given, dict) else None
        fault, _, cure = fault.rpartition("; ")
        yield problem(path, given, fault or cure, cure if fault else rm_command(path))


def _runner_cure(path: Path, given: object) -> str:
    if path[-1] != "endpoint" or not isinstance(given, str):
        return field_cure(Model, path)
    url = urlsplit(given)
    base = re.sub(r"/(chat/completions|completions|models)/*$", "", url.path)
    host = url.netloc.rpartition("@")[2]
    return set_command(path, f"{url.scheme}://{host}{base}") if host else field_cure(Model, path)


MODEL_CHECKS: Final[tuple[Callable[..., Found], ...]] = (
    check_gateway,
    check_models_given,
    check_models_apart,
    check_models_secrets,
    # Called once for each model:
    check_models_network,
    check_models_way,
    check_models_base,
    check_models_ca,
    check_models_certificate,
    check_models_block,
    check_models_runner,
)
