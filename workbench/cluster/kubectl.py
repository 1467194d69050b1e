"""Runs kubectl on a cluster, and asks a Prometheus through the API server."""

import json
import urllib.parse
from typing import Final

from workbench.shell import Runner

# The Service that the operator makes for a Prometheus in the namespace `monitoring`.
PROMETHEUS: Final = "monitoring/prometheus-operated:9090"


def kubectl(runner: Runner, *words: str, stdin: str | None = None, timeout: float = 120) -> str:
    """Run kubectl on a cluster and return what it printed."""
    return runner.run(["kubectl", *words], stdin=stdin, timeout=timeout)


def rollout(runner: Runner, workload: str, *, seconds: int = 180) -> None:
    """Wait until a workload, given as `-n NAMESPACE KIND/NAME`, is available.

    Raises
    ------
    WorkbenchError
        After `seconds`, with kubectl's last word.
    """
    kubectl(runner, "rollout", "status", f"--timeout={seconds}s", *workload.split(), timeout=seconds + 30)


def service_proxy(runner: Runner, service: str, path: str, **query: str) -> str:
    """Get a path of a Service, `namespace/name:port` and what its paths begin with, through the API server."""
    where, name, *prefix = service.split("/", 2)
    arguments = f"?{urllib.parse.urlencode(query)}" if query else ""
    address = f"/api/v1/namespaces/{where}/services/{name}/proxy{''.join(f'/{each}' for each in prefix)}{path}"
    return kubectl(runner, "get", f"--raw={address}{arguments}")


def query(runner: Runner, expression: str, prometheus: str = PROMETHEUS) -> list[tuple[dict[str, str], float]]:
    """Evaluate an instant query.

    Returns
    -------
    list of (labels, value)
        One entry a series; empty when nothing matches.
    """
    answer = json.loads(service_proxy(runner, prometheus, "/api/v1/query", query=expression))
    return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]
