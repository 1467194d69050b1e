"""Prometheus Operator with a Prometheus and an Alertmanager, as production brings them."""

import json
from typing import Final

from sandbox.cluster import MANIFESTS, kubectl, rollout, service_proxy
from sandbox.namespace import Namespace
from sandbox.shell import Runner, wait_for
from sandbox.tools import module_source

PROMETHEUS: Final = "monitoring/prometheus-operated:9090"
ALERTMANAGER: Final = "monitoring/alertmanager-operated:9093"


def install(namespace: Namespace) -> None:
    """Install the operator's own bundle, then one Prometheus and one Alertmanager."""
    bundle = module_source("prometheus-operator") / "bundle.yaml"
    kubectl(namespace, "apply", "--server-side", "--force-conflicts", "-f", str(bundle))
    for kind in ("prometheuses", "alertmanagers"):
        # Not `kubectl wait`, which fails at once on a definition so new that it has no conditions.
        wait_for(f"the kind {kind}", lambda kind=kind: kubectl(namespace, "get", kind, "-A") or True, seconds=60)  # type: ignore[misc]
    kubectl(namespace, "apply", "-f", str(MANIFESTS / "monitoring.yaml"))


def wait(namespace: Namespace) -> None:
    """Wait until Prometheus answers queries and Alertmanager runs."""
    rollout(namespace, "-n default deployment/prometheus-operator")
    wait_for("Prometheus", lambda: query(namespace, "vector(1)"), seconds=60)
    wait_for("Alertmanager", lambda: service_proxy(namespace, ALERTMANAGER, "/-/ready"), seconds=120)


def query(runner: Runner, expression: str, prometheus: str = PROMETHEUS) -> list[tuple[dict[str, str], float]]:
    """Evaluate an instant query.

    Returns
    -------
    list of (labels, value)
        One entry a series; empty when nothing matches.
    """
    answer = json.loads(service_proxy(runner, prometheus, "/api/v1/query", query=expression))
    return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]
