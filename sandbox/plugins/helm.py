"""Helm releases (`helm.sh/v3:Release`) as resources, by the helm command line."""

import hashlib
import json
import os
import secrets
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from sandbox.plugins.cluster import Cluster
from sandbox.plugins.properties import Object
from sandbox.plugins.resource import PartialError, Resource
from sandbox.plugins.server import PluginError, stopping

# Flags of helm, and the properties that set them.
FLAGS: Final = {
    "atomic": "--atomic",
    "cleanupOnFail": "--cleanup-on-fail",
    "createNamespace": "--create-namespace",
    "disableWebhooks": "--no-hooks",
    "skipCrds": "--skip-crds",
    "waitForJobs": "--wait-for-jobs",
}
NOT_FOUND: Final = "release: not found"


class HelmError(PluginError):
    """What helm said."""


class Releases:
    """The resource type `helm.sh/v3:Release`."""

    def __init__(self, cluster: Cluster) -> None:
        self._access = cluster.access

    def check(self, name: str, old: Object, new: Object) -> Object:
        """Return the inputs with a name and, for a chart that is a folder, what tells its content apart."""
        new["name"] = new.get("name") or old.get("name") or f"{name}-{secrets.token_hex(4)}"
        new["namespace"] = new.get("namespace") or self._access.namespace
        if Path(new["chart"]).is_dir():
            new["checksum"] = _checksum(Path(new["chart"]))
        return new

    def immutable(self, new: Object) -> tuple[str, ...]:
        """Return the paths whose change replaces the release."""
        return ("name", "namespace")

    def blocks(self, old: Object, new: Object) -> bool:
        """Tell whether the old release must be gone first."""
        return _id(old) == _id(new)

    def create(self, inputs: Object, seconds: float, *, preview: bool) -> Resource:
        """Install a release that is not there yet."""
        if preview:
            return Resource("", inputs, inputs)
        if found := self._metadata(inputs):
            undo = f"helm uninstall {inputs['name']} --namespace {inputs['namespace']}"
            raise HelmError(f"release {_id(inputs)} already exists ({found['status']}), not of this stack: {undo}")
        return self._deploy(inputs, seconds)

    def read(self, kind: str, name: str, inputs: Object) -> Resource | None:
        """Return a release's live values and version, None when it is gone."""
        if not inputs:
            raise PluginError(f"{kind} {name}: releases cannot be imported here")
        found = self._metadata(inputs)
        if found is None:
            return None
        seen = dict(inputs)
        if "values" in inputs:
            seen["values"] = json.loads(self._helm("get values", inputs, "--output=json")) or {}
        if "version" in inputs:
            seen["version"] = found["version"]
        return Resource(_id(inputs), seen, {**seen, "status": _status(found)})

    def update(self, inputs: Object, seconds: float, *, preview: bool) -> Resource:
        """Upgrade a release, also one whose installation failed."""
        if preview:
            return Resource(_id(inputs), inputs, inputs)
        return self._deploy(inputs, seconds)

    def delete(self, inputs: Object, seconds: float) -> None:
        """Uninstall a release and wait until its objects are gone."""
        self._helm("uninstall", inputs, "--ignore-not-found", "--wait", f"--timeout={_seconds(inputs, seconds)}s")

    def _deploy(self, inputs: Object, seconds: float) -> Resource:
        words = [inputs["chart"], "--install", f"--timeout={_seconds(inputs, seconds)}s"]
        words.append(f"--history-max={inputs.get('maxHistory') or 10}")
        words += [flag for key, flag in FLAGS.items() if inputs.get(key)]
        words += [] if inputs.get("skipAwait") else ["--wait"]
        words += [f"--version={inputs['version']}"] if inputs.get("version") else []
        if repository := (inputs.get("repositoryOpts") or {}).get("repo"):
            words.append(f"--repo={repository}")
        with tempfile.NamedTemporaryFile("w", suffix=".json") as values:  # made with mode 0600
            json.dump(inputs.get("values") or {}, values)
            values.flush()
            try:
                self._helm("upgrade", inputs, *words, f"--values={values.name}")
            except HelmError as error:
                found = self._metadata(inputs)
                if found is None:
                    raise
                failed = Resource(_id(inputs), inputs, {**inputs, "status": _status(found)})
                raise PartialError(f"{error} (the release is there, {found['status']})", failed) from None
        return Resource(_id(inputs), inputs, {**inputs, "status": _status(self._metadata(inputs) or {})})

    def _metadata(self, inputs: Object) -> Object | None:
        try:
            return dict(json.loads(self._helm("get metadata", inputs, "--output=json")))
        except HelmError as error:
            if NOT_FOUND in str(error):
                return None
            raise

    def _helm(self, command: str, inputs: Object, *words: str) -> str:
        with self._access.as_file() as kubeconfig:
            process = subprocess.Popen(
                ["helm", *command.split(), inputs["name"], "--namespace", inputs["namespace"],
                 "--kube-context", self._access.context, *words],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "KUBECONFIG": kubeconfig},
            )  # fmt: skip
            interrupted = False
            while True:
                try:
                    out, err = process.communicate(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    if stopping.is_set() and not interrupted:
                        process.send_signal(signal.SIGINT)  # helm then marks the release as failed
                        interrupted = True
        if process.returncode != 0:
            raise HelmError(f"helm {command} {_id(inputs)}: {err.strip() or out.strip()}")
        return out


def _seconds(inputs: Object, seconds: float) -> int:
    return int(inputs.get("timeout") or seconds)


def _id(inputs: Object) -> str:
    return f"{inputs['namespace']}/{inputs['name']}"


def _status(found: Object) -> Object:
    return {key: found.get(key) for key in ("appVersion", "chart", "name", "namespace", "status", "version")}


def _checksum(folder: Path) -> str:
    total = hashlib.sha256()
    for file in sorted(each for each in folder.rglob("*") if each.is_file()):
        total.update(f"{file.relative_to(folder)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()
