"""Runs the Pulumi program on the sandbox's cluster, as a user would on theirs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from components import labels
from workbench.cluster import requests
from workbench.cluster.requests import DeployRequest
from workbench.cluster.stack import merged, plugins, say_plugins
from workbench.paths import REPOSITORY
from workbench.sandbox import model
from workbench.sandbox.namespaces import Sandbox

NAME: Final = "local"


def env(sandbox: Sandbox) -> dict[str, str]:
    """Return the environment of pulumi: its state below the sandbox's, the official plugins where they are."""
    state = sandbox.paths.state
    return {
        "PULUMI_BACKEND_URL": f"file://{state}/pulumi",
        "PULUMI_HOME": f"{state}/pulumi-home",
        "PULUMI_CONFIG_PASSPHRASE": "sandbox",  # guards nothing: the state holds the sandbox's own secrets
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "TMPDIR": f"{state}/tmp",
        **plugins(sandbox.paths, sandbox.env()["PATH"]),
    }


def up(sandbox: Sandbox) -> None:
    """Create or update the stack."""
    say_plugins()
    (sandbox.paths.state / "pulumi").mkdir(exist_ok=True)
    pulumi(sandbox, "stack", "select", "--create", NAME)
    configure(sandbox, overrides(sandbox, sandbox.request))
    if any((sandbox.paths.state / "pulumi/.pulumi/locks").rglob("*.json")):
        # The lock is of an update that was killed: `steps.up` allows one `make up` at a time.
        pulumi(sandbox, "cancel", "--yes")
    pulumi(sandbox, "up", "--yes", "--skip-preview", *config_file(sandbox))


def configure(sandbox: Sandbox, changes: Mapping[str, Any]) -> None:
    """Write the sandbox's own copy of the stack file: `Pulumi.local.yaml` with `changes` laid over its groups."""
    _copy(sandbox).write_text(merged(NAME, changes))


def overrides(sandbox: Sandbox, request: DeployRequest) -> dict[str, Any]:
    """Return what only this run knows: where the sandbox's chart is, if it has one, and what the caller asked for.

    Where vLLM serves, the models get another tag than llama.cpp's `v1`: the two programs do not answer alike.
    """
    chart = sandbox.paths.state / "argo-cd"
    ours: dict[str, Any] = {"argocd": {"chart": str(chart)}} if chart.exists() else {}
    if model.by_vllm(sandbox.server):
        listed = yaml.safe_load(merged(NAME, {}))["config"][f"{labels.PROJECT}:models"]
        ours["models"] = [{**each, "tag": model.VLLM} for each in listed]
    return {**ours, **requests.settings(request)}


def config_file(sandbox: Sandbox) -> tuple[str, str]:
    """Return the options that name the sandbox's copy of the stack file."""
    return "--config-file", str(_copy(sandbox))


def pulumi(sandbox: Sandbox, *words: str, timeout: float = 900) -> str:
    """Run pulumi on the stack inside the sandbox, its whole output also in the log."""
    log = sandbox.paths.logs / f"pulumi-{words[0]}.log"
    command = ["pulumi", "--non-interactive", "--cwd", str(REPOSITORY), *words]
    if words[0] != "stack":
        command += ["--stack", NAME]
    return sandbox.run(command, env=env(sandbox), timeout=timeout, log=log)


def _copy(sandbox: Sandbox) -> Path:
    return sandbox.paths.state / f"Pulumi.{NAME}.yaml"
