"""What the caller of `make up` asks for, and the evaluation's own files: checked before anything changes."""

import contextlib
import ipaddress
import os
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any, Final

from components import labels
from workbench.paths import REPOSITORY
from workbench.shell import CommandError, WorkbenchError, run

SECONDS: Final = 10


@dataclass(frozen=True)
class DeployRequest:
    """What to evaluate, and with which plugins; an empty option was not given. Messages name them as `make` does.

    Attributes
    ----------
    endpoint, model, tag
        MODEL_ENDPOINT, MODEL, MODEL_TAG: the one model to evaluate instead of the stack's.
    limit
        LIMIT: at most so many items a task.
    standins
        STANDINS=1: take our own Pulumi plugins where the official ones are missing.
    """

    endpoint: str = ""
    model: str = ""
    tag: str = ""
    limit: str = ""
    standins: bool = False


def check(request: DeployRequest) -> None:
    """Refuse wrong options, an endpoint that does not answer, and evaluation files that the runner would refuse."""
    settings(request)
    if request.endpoint:
        ask(request.endpoint)
    check_evaluation()


def settings(request: DeployRequest) -> dict[str, Any]:
    """Return the groups of settings that MODEL_ENDPOINT, MODEL, MODEL_TAG and LIMIT stand for.

    Raises
    ------
    WorkbenchError
        Names the option, its value and the cure.
    """
    changes: dict[str, Any] = {}
    endpoint, model = request.endpoint, request.model
    if bool(endpoint) != bool(model):
        raise WorkbenchError(
            "MODEL_ENDPOINT and MODEL go together: make up MODEL_ENDPOINT=http://host:8000/v1 MODEL=name"
        )
    if limit := request.limit:
        if not limit.isdigit() or int(limit) < 1:
            raise WorkbenchError(f"LIMIT is {limit!r}: give a number of items for each task, such as make up LIMIT=50")
        changes["evaluation"] = {"limit": int(limit)}
    if endpoint and model:
        tag = request.tag or "v1"
        changes["models"] = [{"name": model, "tag": tag, "endpoint": endpoint, "network": _network(endpoint)}]
    return changes


def check_evaluation(config: str | None = None) -> None:
    """Let the runner say what is wrong with the configuration, tasks and data of the working tree.

    Parameters
    ----------
    config
        `evaluation.config` of the stack.
    """
    with tempfile.TemporaryDirectory() as caches:
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("VLLM_EVAL_", "HF_"))},
            "HF_HOME": caches,
        }
        file = REPOSITORY / labels.config_file(config)
        try:
            # The cluster's pods have a hub or a bundle; this machine may have neither.
            run([sys.executable, "-m", "vllm_eval", "validate", "--no-data", "--config", file], env=env)
        except CommandError as error:
            raise WorkbenchError(f"the evaluation of this working tree would be refused:\n{error.output}") from error


def _network(endpoint: str) -> dict[str, Any]:
    """Return whom the evaluation's NetworkPolicy lets it reach: a Service's namespace, one address, or any.

    A policy holds addresses, and those behind a name outside the cluster may change: then its port is open to all.
    """
    url = urllib.parse.urlsplit(endpoint)
    try:
        host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    except ValueError:  # a port that is no number
        host, port = "", 0
    if url.scheme not in ("http", "https") or not host:
        raise WorkbenchError(f"MODEL_ENDPOINT is {endpoint!r}: write an address such as http://host:8000/v1")
    if host in {"localhost", "::1"} or host.startswith("127."):
        raise WorkbenchError(
            f"MODEL_ENDPOINT is {endpoint!r}, and the pods have a loopback of their own: "
            "let vLLM listen on an address of this machine (--host) and name that one"
        )
    if _is_service(host):
        return {"namespace": host.split(".")[1], "port": port}
    with contextlib.suppress(ValueError):
        return {"cidr": str(ipaddress.ip_network(host)), "port": port}
    return {"cidr": "0.0.0.0/0", "port": port}


def _is_service(host: str) -> bool:
    """Tell whether a host is a Service's name, `service.namespace.svc…`, which only the cluster's pods know."""
    return host.split(".")[2:3] == ["svc"]


def ask(endpoint: str) -> None:
    """Ask an endpoint from this machine; a Service's name is left to the pods.

    Raises
    ------
    WorkbenchError
        When it does not answer.
    """
    if _is_service(urllib.parse.urlsplit(endpoint).hostname or ""):
        return
    try:
        # Any answer is enough, even that a key is missing: the runner itself checks whether the model is there.
        with (
            contextlib.suppress(urllib.error.HTTPError),
            urllib.request.urlopen(f"{endpoint.rstrip('/')}/models", timeout=SECONDS),  # noqa: S310 -- http or https, as just checked
        ):
            pass
    except OSError as error:
        raise WorkbenchError(
            f"MODEL_ENDPOINT is {endpoint!r}, and it does not answer: {getattr(error, 'reason', error)}. "
            "Is the server up, and can this machine reach it?"
        ) from error
