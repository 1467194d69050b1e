"""Writes a stack's objects as plain manifests, for teams that review or apply them without Pulumi.

``python -m components.render --stack STACK`` asks no cluster and no backend: the
program runs as for an update, and what it declares is written down.
"""

import argparse
import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any, Final

import pulumi
import yaml
from pulumi.runtime import mocks
from pulumi.runtime.settings import SETTINGS

from components.labels import PROJECT
from components.program import declare
from components.settings import Settings, SettingsError
from components.settings.stack_file import read

# How the SDK marks a secret on its way to the engine.
SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
RELEASE: Final = "kubernetes:helm.sh/v3:Release"
MARK: Final = ".made-by-vllm-eval-render"
# Namespaces first, then what pods refer to; the Application last, as it starts the evaluation.
ORDER: Final = ("Namespace", "AppProject", "ServiceAccount", "NetworkPolicy", "PersistentVolumeClaim", "ConfigMap")
LAST: Final = ("Job", "Application")


class RenderError(Exception):
    """Why nothing was written, and what to do."""


class _Recorder(mocks.Mocks):
    def __init__(self) -> None:
        self.declared: list[tuple[str, dict[str, Any]]] = []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.declared.append((args.typ, _open(args.inputs)))
        return f"{args.name}-id", dict(args.inputs)

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:  # noqa: ARG002 (theirs)
        return {}, []  # `image.lookup` alone calls, and is refused


def _open(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """Return a value without the SDK's marks of secrets. Callers print only the names of secrets."""
    if isinstance(value, dict):
        return _open(value["value"]) if SIGNATURE in value else {key: _open(each) for key, each in value.items()}
    return [_open(each) for each in value] if isinstance(value, list) else value


class _NoHooks:
    """Replaces the engine's server for hooks, which would only print what an update starts."""

    def register_resource_hook(self, hook: pulumi.ResourceHook) -> None:
        """Ignore it."""


def main(arguments: list[str] | None = None) -> int:
    """Write the folder and say what is not in it; return 2 when an option, a setting or the folder is wrong."""
    parser = argparse.ArgumentParser(prog="python -m components.render")
    parser.add_argument("--stack", default="", metavar="NAME", help="the stack")
    parser.add_argument("--file", type=Path, help="its file (default: Pulumi.NAME.yaml)")
    parser.add_argument("--folder", type=Path, help="where the manifests go (default: rendered/NAME)")
    options = parser.parse_args(arguments)
    folder = options.folder or Path("rendered") / options.stack
    # The secrets' outputs and the program must share one.
    asyncio.set_event_loop(asyncio.new_event_loop())
    try:
        notes = write(declared(read(options.stack, _text(options.stack, options.file))), folder)
    except (SettingsError, RenderError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{folder}: kubectl apply -k {folder}, or an Application of Argo CD whose path it is", *notes, sep="\n  ")
    return 0


def _text(stack: str, file: Path | None) -> bytes:
    if not stack:
        raise RenderError("error: STACK is not set: make render STACK=prod (--stack prod)")
    file = file or Path(__file__).resolve().parents[1] / f"Pulumi.{stack}.yaml"
    if not file.is_file():
        raise RenderError(f"error: STACK is {stack!r}, but there is no {file.name}: write it, or name another stack")
    return file.read_bytes()


def declared(settings: Settings) -> list[tuple[str, dict[str, Any]]]:
    """Return type and inputs of every resource that the program declares."""
    if settings.image.build or settings.image.lookup:
        raise RenderError(
            "image.build and image.lookup ask a registry, which is not done here: name image.digest instead"
        )
    if settings.argocd.context is not None:
        raise RenderError("argocd.context names a hub: one folder is for one cluster's objects")
    recorder = _Recorder()
    pulumi.runtime.set_mocks(recorder, project=PROJECT, stack=settings.stack, preview=False)
    SETTINGS.callbacks = _NoHooks()
    pulumi.runtime.test(lambda: declare(settings))()  # type: ignore[no-untyped-call] # the SDK's
    return recorder.declared


def manifests(resources: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the objects that Kubernetes gets, in an order in which they can be made; Secrets are left out."""
    found = [_whole(inputs) for kind, inputs in resources if kind.startswith("kubernetes:") and "kind" in inputs]
    rank = {kind: index for index, kind in enumerate((*ORDER, "", *LAST))}
    listed = [each for each in found if each["kind"] != "Secret"]
    return sorted(listed, key=lambda each: (rank.get(each["kind"], len(ORDER)), each["kind"], each["metadata"]["name"]))


def write(resources: list[tuple[str, dict[str, Any]]], folder: Path) -> list[str]:
    """Write a file for each object and a kustomization that names them; return what else the user must do.

    Raises
    ------
    RenderError
        The folder has files that an earlier call did not write.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise RenderError(f"{folder} holds other files: name a folder of its own (DIR=…)")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARK).touch()
    names = []
    # The SDK returns keys in another order at each run; sorted, a new folder differs only where the stack does.
    for index, each in enumerate(manifests(resources)):
        names.append(f"{index:02}-{each['kind'].lower()}-{each['metadata']['name']}.yaml")
        (folder / names[-1]).write_text(yaml.safe_dump(each, allow_unicode=True), encoding="utf-8")
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": names}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(head, sort_keys=False), encoding="utf-8")
    return [*_secrets(resources), *_releases(resources, folder)]


def _secrets(resources: list[tuple[str, dict[str, Any]]]) -> list[str]:
    secrets = [inputs for _, inputs in resources if inputs.get("kind") == "Secret"]
    return [
        f"not in it, since it is secret: Secret {each['metadata']['namespace']}/{each['metadata']['name']} with"
        f" {', '.join(sorted(each['stringData']))}"
        for each in secrets
    ]


def _releases(resources: list[tuple[str, dict[str, Any]]], folder: Path) -> list[str]:
    notes = []
    for kind, inputs in resources:
        if kind != RELEASE:
            continue
        if inputs["values"].get("configs", {}).pop("secret", None):
            notes.append("not in it, since it is secret: the hash of the password of Argo CD's user admin")
        values = folder / f"{inputs['name']}-values.yaml"
        values.write_text(yaml.safe_dump(json.loads(json.dumps(inputs["values"]))), encoding="utf-8")
        repository = inputs.get("repositoryOpts", {}).get("repo")
        options = [f"--repo {repository}"] * bool(repository) + [f"--version {inputs.get('version')}"] * (
            "version" in inputs
        )
        command = ["helm upgrade --install", inputs["name"], inputs["chart"], *options, f"-n {inputs['namespace']}"]
        notes.append(f"before it: {' '.join(command)} --create-namespace -f {values}")
    return notes


def _whole(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return an object without the annotations that only Pulumi reads, and with whole numbers as integers."""
    plain: dict[str, Any] = json.loads(json.dumps(inputs), parse_float=_number)
    annotations = plain["metadata"].get("annotations", {})
    kept = {key: value for key, value in annotations.items() if not key.startswith("pulumi.com/")}
    metadata = {key: value for key, value in plain.pop("metadata").items() if key != "annotations"}
    head = {key: plain.pop(key) for key in ("apiVersion", "kind")}
    return {**head, "metadata": {**metadata, **({"annotations": kept} if kept else {})}, **plain}


def _number(text: str) -> int | float:
    return int(float(text)) if float(text).is_integer() else float(text)


if __name__ == "__main__":
    sys.exit(main())
