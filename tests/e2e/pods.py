"""Pods that run a few lines of Python and end."""

import json
import secrets
from collections.abc import Mapping

from tests.e2e.endpoints import IMAGE
from workbench.cluster.kubectl import kubectl
from workbench.shell import Runner, wait_for

ENDS = ("Succeeded", "Failed")


def python(runner: Runner, script: str, *, namespace: str, labels: Mapping[str, str]) -> str:
    """Run a script in the evaluation image, by a pod with these labels, and return what it printed.

    Raises
    ------
    AssertionError
        With what it printed, when it failed.
    """
    name = f"python-{secrets.token_hex(3)}"
    where = ("-n", namespace)
    kubectl(runner, "apply", "-f", "-", stdin=json.dumps(_pod(script, name, namespace, labels)))
    try:
        phase = ("get", "pod", name, "-o", "jsonpath={.status.phase}")
        ended = wait_for("the script's end", lambda: {kubectl(runner, *where, *phase)} & set(ENDS), seconds=180)
        said = kubectl(runner, *where, "logs", name)
        assert ended == {"Succeeded"}, said
        return said
    finally:
        kubectl(runner, *where, "delete", "pod", name, "--now")


def _pod(script: str, name: str, namespace: str, labels: Mapping[str, str]) -> dict[str, object]:
    container = {
        "name": "python",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", script],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
    }
    spec = {
        "automountServiceAccountToken": False,
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
    }
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
