"""A stack of the program: its settings, judged by the program itself, and the plugins that Pulumi needs for it."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from workbench.paths import REPOSITORY, Paths
from workbench.shell import CommandError, WorkbenchError, run, say

PROJECT: Final = "vllm-eval"
LOCAL: Final = "local"
"""The stack of the sandbox."""
# The language host; the Kubernetes provider is among the tools.
LANGUAGE: Final = REPOSITORY / "workbench/cluster/language"


def plugins(paths: Paths, path: str) -> dict[str, str]:
    """Return what lets pulumi find its plugins: an official Pulumi's where it is, else ours, before `path`."""
    if theirs := official():
        return {"PATH": f"{theirs}:{path}"}
    return {
        "PATH": f"{LANGUAGE}:{paths.plugins}:{path}",
        "VLLM_EVAL_PYTHON": sys.executable,
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        # The same as the program's `enable_patch_force`, which only later versions of the provider know.
        "PULUMI_K8S_ENABLE_PATCH_FORCE": "true",
    }


def official() -> Path | None:
    """Return the folder of an official Pulumi on PATH; it brings its language host and downloads its plugins."""
    host = shutil.which("pulumi-language-python")
    return Path(host).parent if host and Path(host).parent != LANGUAGE else None


def say_plugins() -> None:
    """Say which plugins pulumi will use."""
    theirs = official()
    kind = f"those of {theirs}" if theirs else "Kubernetes' built from its module, Python's our own (cluster/language)"
    say(f"  Pulumi plugins: {kind}")


def merged(name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stack file of a stack with `changes` laid over its groups.

    Raises
    ------
    WorkbenchError
        When there is no such file, or it is no stack file at all.
    """
    file = REPOSITORY / f"Pulumi.{name}.yaml"
    try:
        settings = yaml.safe_load(file.read_text())
        config: dict[str, Any] = dict(settings["config"])
    except FileNotFoundError as error:
        known = ", ".join(sorted(each.name.split(".")[1] for each in REPOSITORY.glob("Pulumi.*.yaml")))
        raise WorkbenchError(
            f"STACK is {name!r}, but there is no {file.name}: write it, or name one of {known}"
        ) from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise WorkbenchError(f"{file.name} is no stack file (YAML with the key `config`): {error}") from error
    return {**settings, "config": laid_over(config, changes)}


def laid_over(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stack file's `config` with groups of settings laid over its own, key by key where a group has keys."""
    result = dict(config)
    for group, values in changes.items():
        key = f"{PROJECT}:{group}"
        old = result.get(key)
        result[key] = {**old, **values} if isinstance(old, dict) else values
    return result


def check(name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Let the program judge a stack's settings with `changes`; return what the stack asks of a cluster.

    Raises
    ------
    WorkbenchError
        With every problem that the program finds.
    """
    return dict(json.loads(_judged("components.settings", name, changes, os.environ)))


def preflight(name: str, changes: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Let the program look at the cluster of a stack with `changes`, as it does before every update.

    Raises
    ------
    WorkbenchError
        With a line for everything that the program would refuse.
    """
    _judged("components.preflight", name, changes, environment)


def _judged(module: str, name: str, changes: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Run a module of the program on the stack file of a stack with `changes`, and return what it prints."""
    settings = yaml.safe_dump(merged(name, changes))
    try:
        command = [sys.executable, "-m", module, name]
        return run(command, cwd=REPOSITORY, env=environment, stdin=settings)
    except CommandError as error:
        raise WorkbenchError(error.output) from error
