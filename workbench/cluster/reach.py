"""Tells whether the evaluation's pods could reach the models, and whether these serve the names that are asked for.

No pod is started for that: the stack's `network` is compared with the labels and ports of the pods behind each
Service, and the Service is asked through the API server.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from workbench.cluster.kubectl import kubectl
from workbench.shell import CommandError, Runner


@dataclass
class Told:
    """What was found: faults would make an update or an evaluation fail, notes would not."""

    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def look(runner: Runner, stack: str, asked: Mapping[str, Any], told: Told) -> None:
    """Compare each model's network with the pods behind its Service, and ask the Service for its models."""
    for index, model in enumerate(asked["reach"]):
        url = urlsplit(model["endpoint"])
        name, *rest = (url.hostname or "").split(".")
        if rest[1:2] != ["svc"]:
            continue
        port = url.port or (443 if url.scheme == "https" else 80)
        where = f"{rest[0]}/{name}"
        text = kubectl(runner, "-n", rest[0], "get", "service", name, "--ignore-not-found", "-o", "json")
        if not text:
            told.notes.append(f"models[{index}]: the Service {where} is not there (yet)")
            continue
        pods = _behind(runner, rest[0], json.loads(text))
        if not pods:
            told.notes.append(f"models[{index}]: no pod is behind the Service {where} (yet)")
            continue
        key = f"vllm-eval:models[{index}].network"
        wanted: Mapping[str, str] = model["network"]["labels"]
        if not any(wanted.items() <= labels.items() for labels in pods):
            told.faults.append(
                f"{key}.labels is {json.dumps(wanted)}, but the pods behind {where} have"
                f" {json.dumps(pods[0], sort_keys=True)}: the NetworkPolicy would keep the evaluation out"
            )
        target = _target(json.loads(text), port)
        if isinstance(target, int) and target != model["network"]["port"]:
            told.faults.append(
                f"{key}.port is {model['network']['port']}, but {where}:{port} leads to port {target} of its pods:"
                f" pulumi config set --stack {stack} --path '{key}.port' {target}"
            )
        address = f"/api/v1/namespaces/{rest[0]}/services/{url.scheme}:{name}:{port}/proxy{url.path.rstrip('/')}/models"
        _ask(runner, f"models[{index}]: {where}", address, model["served_name"], told)


def _behind(runner: Runner, namespace: str, service: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """Return the labels of the pods that a Service selects."""
    if not (selector := service["spec"].get("selector")):
        return []
    words = ",".join(f"{key}={value}" for key, value in selector.items())
    found = json.loads(kubectl(runner, "-n", namespace, "get", "pods", f"--selector={words}", "-o", "json"))
    return [each["metadata"].get("labels", {}) for each in found["items"]]


def _target(service: Mapping[str, Any], port: int) -> int | str | None:
    """Return the port of the pods that a Service's port leads to; a name is resolved by each pod itself."""
    ports = {each["port"]: each.get("targetPort", each["port"]) for each in service["spec"].get("ports", [])}
    return ports.get(port)


def _ask(runner: Runner, what: str, address: str, served: str, told: Told) -> None:
    """Ask for the list of models; of a server that demands a key nothing is said."""
    try:
        answer = json.loads(kubectl(runner, "get", f"--raw={address}", "--request-timeout=15s"))
        names = [each["id"] for each in answer["data"]]
    except CommandError as error:
        if "Unauthorized" not in error.output:
            told.notes.append(f"{what} does not tell its models: {error.last}")
        return
    except (ValueError, KeyError, TypeError):
        told.notes.append(f"{what} gives no list of models at {address.partition('/proxy')[2]}")
        return
    if served not in names:
        told.faults.append(f"{what} serves {', '.join(names)}, and not {served!r}")
