"""Pods that run a few lines of Python and end."""

import json
import secrets
from collections.abc import Mapping
from typing import Final

from tests.e2e.endpoints import IMAGE
from workbench.cluster.kubectl import kubectl
from workbench.shell import Runner, wait_for

ENDS: Final = ("Succeeded", "Failed")
REACH: Final = """\
import json, socket, time
wanted = json.loads({wanted!r})

def reached(target):
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        return False
    return True

deadline = time.monotonic() + 60
agreed = 0
while agreed < 3 and time.monotonic() < deadline:
    found = {{target: reached(target) for target in wanted}}
    agreed = agreed + 1 if found == wanted else 0
    time.sleep(0.2)
print(json.dumps(found))
"""


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


def reached(runner: Runner, wanted: dict[str, bool], namespace: str, chosen: dict[str, str]) -> dict[str, bool]:
    """Return which Services a pod reaches, once they are those wanted three times in a row, or else after a minute.

    Policies reach a node some time after the pods that they speak of; until then a pod may see more, or less, than it
    will.
    """
    # By address: without DNS, which is closed to some, a name is not so much refused as waited for.
    addresses = {address(runner, service): service for service in wanted}
    script = REACH.format(wanted=json.dumps({each: wanted[service] for each, service in addresses.items()}))
    found = json.loads(python(runner, script, namespace=namespace, labels=chosen))
    return {addresses[each]: value for each, value in found.items()}


def address(runner: Runner, service: str) -> str:
    """Return the cluster's address and port of a Service."""
    namespace, _, name = service.partition("/")
    name, _, port = name.partition(":")
    path = "jsonpath={.spec.clusterIP}"
    return f"{kubectl(runner, '-n', namespace, 'get', 'service', name, '-o', path)}:{port}"


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
