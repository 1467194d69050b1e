"""The real Prometheus Operator beside a test's API server: it writes the configuration of an Alertmanager."""

import base64
import gzip
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.support.apiserver import ApiServer
from tests.support.clusters import install_operator_kinds, namespace
from tests.support.ports import free_port

WAIT_SECONDS: Final = 60.0
# What the operator watches; without one of these it does not begin.
KINDS: Final = (
    *("alertmanagers", "alertmanagerconfigs", "prometheuses", "prometheusrules", "servicemonitors", "podmonitors"),
    *("probes", "scrapeconfigs"),
)


@contextmanager
def running_operator(server: ApiServer, folder: Path) -> Iterator[None]:
    """Install its kinds and run it until the end."""
    install_operator_kinds(server, *KINDS)
    server.apply(namespace("monitoring"))
    command = ["operator", f"--web.listen-address=127.0.0.1:{free_port()}"]
    environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig)}
    with (folder / "operator.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def add_alertmanager(server: ApiServer, name: str, routing: str, **spec: object) -> None:
    """Add an Alertmanager of a team, with `routing` of its own, that selects every AlertmanagerConfig."""
    selectors: dict[str, Any] = {"alertmanagerConfigSelector": {}, "alertmanagerConfigNamespaceSelector": {}}
    server.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"alertmanager-{name}", "namespace": "monitoring"},
            "stringData": {"alertmanager.yaml": routing},
        },
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "Alertmanager",
            "metadata": {"name": name, "namespace": "monitoring"},
            # The version of the one that the tests run.
            "spec": {"replicas": 1, "version": "v0.25.0", **selectors, **spec},
        },
    )


def generated(server: ApiServer, name: str, wanted: str) -> str:
    """Return the configuration that the operator wrote for an Alertmanager, once `wanted` stands in it."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        secret: Mapping[str, Any] = server.get("secret", f"alertmanager-{name}-generated", "monitoring") or {}
        packed = secret.get("data", {}).get("alertmanager.yaml.gz", "")
        text = gzip.decompress(base64.b64decode(packed)).decode() if packed else ""
        if wanted in text:
            return text
        log = (server.kubeconfig.parent / "operator.log").read_text()[-2000:]
        assert time.monotonic() < deadline, f"no {wanted} in the configuration of {name} yet: {text}\n{log}"
        time.sleep(0.3)
