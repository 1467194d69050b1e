"""Runs the Pulumi program on the sandbox's cluster, as a user would on theirs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from workbench.cluster import requests
from workbench.cluster.requests import Request
from workbench.cluster.stack import LOCAL, merged, plugins, say_plugins
from workbench.layout import REPOSITORY
from workbench.sandbox.namespace import Namespace

NAME: Final = LOCAL


def env(namespace: Namespace) -> dict[str, str]:
    """Return the environment of pulumi: its state below the sandbox's, the official plugins where they are."""
    state = namespace.layout.state
    return {
        "PULUMI_BACKEND_URL": f"file://{state}/pulumi",
        "PULUMI_HOME": f"{state}/pulumi-home",
        "PULUMI_CONFIG_PASSPHRASE": "sandbox",  # guards nothing: the state holds the sandbox's own secrets
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "TMPDIR": f"{state}/tmp",
        **plugins(namespace.layout, namespace.env()["PATH"]),
    }


def up(namespace: Namespace) -> None:
    """Create or update the stack."""
    say_plugins()
    (namespace.layout.state / "pulumi").mkdir(exist_ok=True)
    pulumi(namespace, "stack", "select", "--create", NAME)
    configure(namespace, overrides(namespace, namespace.request))
    if any((namespace.layout.state / "pulumi/.pulumi/locks").rglob("*.json")):
        # Of an update that was killed: steps.up lets nobody else be at work.
        pulumi(namespace, "cancel", "--yes")
    pulumi(namespace, "up", "--yes", "--skip-preview", *config_file(namespace))


def configure(namespace: Namespace, changes: Mapping[str, Any]) -> None:
    """Write the sandbox's own copy of the stack file: `Pulumi.local.yaml` with `changes` laid over its groups."""
    _copy(namespace).write_text(yaml.safe_dump(merged(NAME, changes), allow_unicode=True))


def overrides(namespace: Namespace, request: Request) -> dict[str, Any]:
    """Return what only this run knows: where the sandbox's chart is, if it has one, and what the caller asked for."""
    chart = namespace.layout.state / "argo-cd"
    return {**({"argocd": {"chart": str(chart)}} if chart.exists() else {}), **requests.settings(request)}


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
