"""A stack of the program: its settings, judged by the program itself, and the plugins that Pulumi needs for it."""

import json
import os
import shutil
import sys
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from components.labels import PROJECT
from workbench.paths import REPOSITORY, Paths
from workbench.shell import CommandError, WorkbenchError, run, say

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


def merged(name: str, changes: Mapping[str, Any]) -> str:
    """Return the text of a stack file with `changes` laid over its groups; a text that is no YAML stays as it is.

    The program says later what is wrong with it, and quotes no line of it, since one may hold a credential.

    Raises
    ------
    WorkbenchError
        When there is no such file, or it is no stack file at all.
    """
    file = REPOSITORY / f"Pulumi.{name}.yaml"
    try:
        text = file.read_text()
        return laid_over(text, changes)
    except FileNotFoundError as error:
        known = ", ".join(sorted(each.name.split(".")[1] for each in REPOSITORY.glob("Pulumi.*.yaml")))
        raise WorkbenchError(
            f"STACK is {name!r}, but there is no {file.name}: write it, or name one of {known}"
        ) from error
    except yaml.YAMLError:
        return text
    except ValueError as error:
        raise WorkbenchError(f"{file.name} is no stack file: {error}") from error


def laid_over(text: str, changes: Mapping[str, Any]) -> str:
    """Return a stack file with groups of settings laid over its own, key by key where a group has keys.

    Everything else stays as it is written, so that the program checks the text that Pulumi reads: `no` stays a text,
    and a key that stands twice stays twice.

    Raises
    ------
    ValueError
        The text has no object `config`.
    """
    root = yaml.compose(text, yaml.SafeLoader)
    config = _pairs(root).get("config")
    if not isinstance(config, yaml.MappingNode):
        raise ValueError("there is no object `config`")  # noqa: TRY004 -- the file is wrong, no caller
    for group, values in changes.items():
        key, new = f"{PROJECT}:{group}", yaml.representer.SafeRepresenter().represent_data(values)
        old = _pairs(config).get(key)
        if isinstance(old, yaml.MappingNode) and isinstance(new, yaml.MappingNode):
            old.value = _without(old, _pairs(new)) + new.value
        else:
            config.value = [*_without(config, {key}), (yaml.ScalarNode("tag:yaml.org,2002:str", key), new)]
    return str(yaml.serialize(root, allow_unicode=True))


def _pairs(node: yaml.Node | None) -> dict[str, yaml.Node]:
    return {key.value: value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}


def _without(node: yaml.MappingNode, keys: Container[str]) -> list[tuple[yaml.Node, yaml.Node]]:
    return [pair for pair in node.value if pair[0].value not in keys]


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
    settings = merged(name, changes)
    try:
        command = [sys.executable, "-m", module, name]
        return run(command, cwd=REPOSITORY, env=environment, stdin=settings)
    except CommandError as error:
        raise WorkbenchError(error.output) from error
