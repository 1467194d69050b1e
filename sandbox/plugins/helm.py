"""`helm.sh/v3:Release` by the helm command line."""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from sandbox.plugins.cluster import Cluster, Object


class HelmError(Exception):
    """What helm said."""


def name_of(inputs: Object) -> tuple[str, str]:
    """Return namespace and name of a release."""
    return inputs.get("namespace") or "default", inputs["name"]


def install(cluster: Cluster, inputs: Object) -> Object:
    """Install or upgrade, and return the resource's outputs."""
    namespace, name = name_of(inputs)
    words = ["upgrade", "--install", name, inputs["chart"], "--namespace", namespace, "--timeout", _timeout(inputs)]
    repository = (inputs.get("repositoryOpts") or {}).get("repo")
    words += ["--repo", repository] if repository else []
    words += ["--version", inputs["version"]] if inputs.get("version") else []
    for option, key in (
        ("--create-namespace", "createNamespace"),
        ("--skip-crds", "skipCrds"),
        ("--atomic", "atomic"),
        ("--cleanup-on-fail", "cleanupOnFail"),
    ):
        words += [option] if inputs.get(key) else []
    words += [] if inputs.get("skipAwait") else ["--wait"]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as values:  # made with mode 0600
        json.dump(inputs.get("values") or {}, values)
        values.flush()
        _helm(cluster, *words, "--values", values.name)
    found = read(cluster, inputs)
    if found is None:
        raise HelmError(f"the release {name} is not there after its installation")
    return found


def read(cluster: Cluster, inputs: Object) -> Object | None:
    """Return the outputs of an installed release, None when it is not there."""
    namespace, name = name_of(inputs)
    listed = json.loads(
        _helm(cluster, "list", "--namespace", namespace, "--filter", f"^{name}$", "--all", "--output", "json")
    )
    if not listed:
        return None
    release = listed[0]
    status = {
        "appVersion": release["app_version"],
        "chart": release["chart"],
        "name": name,
        "namespace": namespace,
        "status": release["status"],
    }
    return {**inputs, "status": status}


def live_values(cluster: Cluster, inputs: Object) -> Any:
    """Return the values that the release was last given."""
    namespace, name = name_of(inputs)
    return json.loads(_helm(cluster, "get", "values", name, "--namespace", namespace, "--output", "json")) or {}


def uninstall(cluster: Cluster, inputs: Object) -> None:
    """Uninstall and wait until its objects are gone; a release that is gone is no error."""
    namespace, name = name_of(inputs)
    _helm(
        cluster,
        "uninstall",
        name,
        "--namespace",
        namespace,
        "--ignore-not-found",
        "--wait",
        "--timeout",
        _timeout(inputs),
    )


def _timeout(inputs: Object) -> str:
    return f"{int(inputs.get('timeout') or 300)}s"


def _helm(cluster: Cluster, *words: str) -> str:
    command = ["helm", *words, "--kubeconfig", str(Path(cluster.path)), "--kube-context", cluster.context]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HelmError(f"helm {words[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
