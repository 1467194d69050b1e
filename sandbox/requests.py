"""What the caller of `make up` asks for: variables, and the evaluation's own files; checked before anything changes."""

import contextlib
import os
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

from sandbox.layout import REPOSITORY
from sandbox.shell import SandboxError, run

SECONDS: Final = 10


def check(environment: Mapping[str, str]) -> None:
    """Refuse wrong variables, an endpoint that does not answer, and evaluation files that the runner would refuse."""
    settings(environment)
    if endpoint := environment.get("MODEL_ENDPOINT"):
        _check_endpoint(endpoint)
    _check_evaluation()


def settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the groups of settings that the variables MODEL_ENDPOINT, MODEL, MODEL_TAG and LIMIT stand for.

    Raises
    ------
    SandboxError
        Names the variable, its value and the cure.
    """
    changes: dict[str, Any] = {}
    endpoint, model = environment.get("MODEL_ENDPOINT"), environment.get("MODEL")
    if bool(endpoint) != bool(model):
        raise SandboxError(
            "MODEL_ENDPOINT and MODEL go together: make up MODEL_ENDPOINT=http://host:8000/v1 MODEL=name"
        )
    if limit := environment.get("LIMIT"):
        if not limit.isdigit() or int(limit) < 1:
            raise SandboxError(f"LIMIT is {limit!r}: give a number of items for each task, such as make up LIMIT=50")
        changes["evaluation"] = {"limit": int(limit)}
    if endpoint and model:
        changes["models"] = [{"name": model, "tag": environment.get("MODEL_TAG", "v1"), "endpoint": endpoint}]
    return changes


def _check_endpoint(endpoint: str) -> None:
    url = urllib.parse.urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise SandboxError(f"MODEL_ENDPOINT is {endpoint!r}: write an address such as http://host:8000/v1")
    if url.hostname == "localhost" or url.hostname.startswith("127.") or url.hostname == "::1":
        raise SandboxError(
            f"MODEL_ENDPOINT is {endpoint!r}, and the pods have a loopback of their own: "
            "let vLLM listen on an address of this machine (--host) and name that one"
        )
    try:
        # Any answer will do, a refusal without a key too: whether it is the right model is the runner's to say.
        with (
            contextlib.suppress(urllib.error.HTTPError),
            urllib.request.urlopen(f"{endpoint.rstrip('/')}/models", timeout=SECONDS),  # noqa: S310 -- http or https, as just checked
        ):
            pass
    except OSError as error:
        raise SandboxError(
            f"MODEL_ENDPOINT is {endpoint!r}, and it does not answer: {getattr(error, 'reason', error)}. "
            "Is the server up, and can this machine reach it?"
        ) from error


def _check_evaluation() -> None:
    """Let the runner say what is wrong with the configuration, tasks and data of the working tree."""
    with tempfile.TemporaryDirectory() as caches:
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("VLLM_EVAL_", "HF_"))},
            "PYTHONPATH": str(REPOSITORY / "eval/evalchemy"),
            "HF_HOME": caches,
        }
        config = REPOSITORY / "eval/evalchemy/configs/eval_config.json"
        run([sys.executable, "-m", "vllm_eval", "validate", "--config", config], env=env)
