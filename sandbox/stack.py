"""Runs the Pulumi program on the sandbox's cluster, as a user would on theirs."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from sandbox import requests
from sandbox.layout import REPOSITORY
from sandbox.namespace import Namespace
from sandbox.shell import say

NAME: Final = "local"
PLUGINS: Final = REPOSITORY / "sandbox/plugins"
PROJECT: Final = "vllm-eval"


def env(namespace: Namespace) -> dict[str, str]:
    """Return the environment of pulumi: its state below the sandbox's, the official plugins where they are."""
    state = namespace.layout.state
    ours = {
        "PULUMI_BACKEND_URL": f"file://{state}/pulumi",
        "PULUMI_HOME": f"{state}/pulumi-home",
        "PULUMI_CONFIG_PASSPHRASE": "sandbox",  # guards nothing: the state holds the sandbox's own secrets
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "TMPDIR": f"{state}/tmp",
        "VLLM_EVAL_PYTHON": str(REPOSITORY / ".venv/bin/python"),
    }
    theirs = official()
    if theirs is None:
        ours["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    ours["PATH"] = f"{theirs or PLUGINS}:{namespace.env()['PATH']}"
    return ours


def official() -> Path | None:
    """Return the folder of an official Pulumi on PATH; it brings its language host and downloads its plugins."""
    host = shutil.which("pulumi-language-python")
    return Path(host).parent if host and Path(host).parent != PLUGINS else None


def up(namespace: Namespace) -> None:
    """Create or update the stack."""
    theirs = official()
    kind = f"the official plugins of {theirs}" if theirs else "the sandbox's stand-ins (sandbox/plugins)"
    say(f"  Pulumi plugins: {kind}")
    (namespace.layout.state / "pulumi").mkdir(exist_ok=True)
    pulumi(namespace, "stack", "select", "--create", NAME)
    configure(namespace, overrides(namespace, os.environ))
    pulumi(namespace, "up", "--yes", "--skip-preview", *config_file(namespace))


def configure(namespace: Namespace, changes: Mapping[str, Any]) -> None:
    """Write the sandbox's own copy of the stack file: `Pulumi.local.yaml` with `changes` laid over its groups."""
    settings = yaml.safe_load((REPOSITORY / f"Pulumi.{NAME}.yaml").read_text())
    for group, values in changes.items():
        key = f"{PROJECT}:{group}"
        old = settings["config"].get(key)
        settings["config"][key] = {**old, **values} if isinstance(old, dict) else values
    _copy(namespace).write_text(yaml.safe_dump(settings, allow_unicode=True))


def overrides(namespace: Namespace, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what only this run knows: where the chart is, and what the caller asked for."""
    return {"argocd": {"chart": str(namespace.layout.state / "argo-cd")}, **requests.settings(environment)}


def config_file(namespace: Namespace) -> tuple[str, str]:
    """Return the options that name the sandbox's copy of the stack file."""
    return "--config-file", str(_copy(namespace))


def pulumi(namespace: Namespace, *words: str, timeout: float = 900) -> str:
    """Run pulumi on the stack inside the namespace, its whole output also in the log."""
    log = namespace.layout.logs / f"pulumi-{words[0]}.log"
    command = ["pulumi", "--non-interactive", "--cwd", str(REPOSITORY), *words]
    if words[0] != "stack":
        command += ["--stack", NAME]
    return namespace.run(command, env=env(namespace), timeout=timeout, log=log)


def _copy(namespace: Namespace) -> Path:
    return namespace.layout.state / f"Pulumi.{NAME}.yaml"
