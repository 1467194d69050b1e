"""Prometheus Operator with a Prometheus and an Alertmanager, as production brings them."""

from typing import Final

from workbench.cluster.kubectl import kubectl, query, rollout, service_proxy
from workbench.sandbox.cluster import MANIFESTS
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import wait_for
from workbench.toolchain.tools import module_source, version

ALERTMANAGER: Final = "monitoring/alertmanager-operated:9093"


def install(sandbox: Sandbox) -> None:
    """Install the operator's own bundle, then one Prometheus and one Alertmanager."""
    bundle = module_source("prometheus-operator") / "bundle.yaml"
    kubectl(sandbox, "apply", "--server-side", "--force-conflicts", "-f", str(bundle))
    for kind in ("prometheuses", "alertmanagers"):
        # Not `kubectl wait`, which fails at once on a definition so new that it has no conditions.
        wait_for(f"the kind {kind}", lambda kind=kind: kubectl(sandbox, "get", kind, "-A") or True, seconds=60)  # type: ignore[misc]
    manifests = (MANIFESTS / "monitoring.yaml").read_text().replace("@prometheus@", version("prometheus"))
    kubectl(sandbox, "apply", "-f", "-", stdin=manifests)


def wait(sandbox: Sandbox) -> None:
    """Wait until Prometheus answers queries and Alertmanager runs."""
    rollout(sandbox, "-n default deployment/prometheus-operator")
    wait_for("Prometheus", lambda: query(sandbox, "vector(1)"), seconds=60)
    wait_for("Alertmanager", lambda: service_proxy(sandbox, ALERTMANAGER, "/-/ready"), seconds=120)
