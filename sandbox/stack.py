"""Runs the Pulumi program on the sandbox's cluster, as a user would on theirs."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from sandbox import requests
from sandbox.layout import REPOSITORY, Layout
from sandbox.namespace import Namespace
from sandbox.shell import CommandError, SandboxError, run, say

NAME: Final = "local"
LANGUAGE: Final = REPOSITORY / "sandbox/language"
PROJECT: Final = "vllm-eval"


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


def plugins(layout: Layout, path: str) -> dict[str, str]:
    """Return what lets pulumi find its plugins: an official Pulumi's where it is, else ours, before `path`."""
    if theirs := official():
        return {"PATH": f"{theirs}:{path}"}
    return {
        "PATH": f"{LANGUAGE}:{layout.plugins}:{path}",
        "VLLM_EVAL_PYTHON": sys.executable,
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        # What the program's `enable_patch_force` is to later versions of the provider.
        "PULUMI_K8S_ENABLE_PATCH_FORCE": "true",
    }


def official() -> Path | None:
    """Return the folder of an official Pulumi on PATH; it brings its language host and downloads its plugins."""
    host = shutil.which("pulumi-language-python")
    return Path(host).parent if host and Path(host).parent != LANGUAGE else None


def say_plugins() -> None:
    """Say which plugins pulumi will use."""
    theirs = official()
    kind = f"those of {theirs}" if theirs else "Kubernetes' built from its module, Python's our own (sandbox/language)"
    say(f"  Pulumi plugins: {kind}")


def up(namespace: Namespace) -> None:
    """Create or update the stack."""
    say_plugins()
    (namespace.layout.state / "pulumi").mkdir(exist_ok=True)
    pulumi(namespace, "stack", "select", "--create", NAME)
    configure(namespace, overrides(namespace, os.environ))
    if any((namespace.layout.state / "pulumi/.pulumi/locks").rglob("*.json")):
        # Of an update that was killed: steps.up lets nobody else be at work.
        pulumi(namespace, "cancel", "--yes")
    pulumi(namespace, "up", "--yes", "--skip-preview", *config_file(namespace))


def merged(name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stack file of a stack with `changes` laid over its groups.

    Raises
    ------
    SandboxError
        When there is no such file, or it is no stack file at all.
    """
    file = REPOSITORY / f"Pulumi.{name}.yaml"
    try:
        settings = yaml.safe_load(file.read_text())
        config: dict[str, Any] = settings["config"]
        groups = set(config)
    except FileNotFoundError as error:
        known = ", ".join(sorted(each.name.split(".")[1] for each in REPOSITORY.glob("Pulumi.*.yaml")))
        raise SandboxError(
            f"STACK is {name!r}, but there is no {file.name}: write it, or name one of {known}"
        ) from error
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise SandboxError(f"{file.name} is no stack file (YAML with the key `config`): {error}") from error
    for group, values in changes.items():
        key = f"{PROJECT}:{group}"
        old = config[key] if key in groups else None
        config[key] = {**old, **values} if isinstance(old, dict) else values
    return dict(settings)


def check(name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Let the program judge a stack's settings with `changes`; return what the stack asks of a cluster.

    Raises
    ------
    SandboxError
        With every problem that the program finds.
    """
    return dict(json.loads(_judged("components.settings", name, changes, os.environ)))


def preflight(name: str, changes: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Let the program look at the cluster of a stack with `changes`, as it does before every update.

    Raises
    ------
    SandboxError
        With a line for everything that the program would refuse.
    """
    _judged("components.preflight", name, changes, environment)


def _judged(module: str, name: str, changes: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Run a module of the program on the stack file of a stack with `changes`, and return what it prints."""
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "eval/evalchemy")])
    settings = yaml.safe_dump(merged(name, changes))
    try:
        command = [sys.executable, "-m", module, name]
        return run(command, cwd=REPOSITORY, env={**environment, "PYTHONPATH": path}, stdin=settings)
    except CommandError as error:
        raise SandboxError(error.output) from error


def configure(namespace: Namespace, changes: Mapping[str, Any]) -> None:
    """Write the sandbox's own copy of the stack file: `Pulumi.local.yaml` with `changes` laid over its groups."""
    _copy(namespace).write_text(yaml.safe_dump(merged(NAME, changes), allow_unicode=True))


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
