"""What Alertmanager sends to a webhook, kept as it came.

Run as a program it is the receiver: it appends every notification to a file, a line each.
"""

import http.server
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from workbench.cluster.kubectl import kubectl
from workbench.sandbox import stack
from workbench.sandbox.addresses import NODE_ADDRESS
from workbench.sandbox.namespaces import Sandbox

PORT: Final = 9099
CONFIG: Final = f"""\
route:
  receiver: webhook
  group_by: [alertname, stack, model]
  group_wait: 1s
  group_interval: 5s
  repeat_interval: 1h
receivers:
  - name: webhook
    webhook_configs: [{{url: "http://{NODE_ADDRESS}:{PORT}/", send_resolved: true}}]
"""


@dataclass(frozen=True)
class Notification:
    """One alert of one notification, and the receiver that Alertmanager has sent it to."""

    receiver: str
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]


class Receiver:
    """A webhook receiver in the sandbox, to which its Alertmanager sends everything."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._file = sandbox.paths.state / "notifications.jsonl"

    def start(self) -> None:
        """Listen, unless it does already, and let Alertmanager know."""
        self._sandbox.daemon(
            "receiver",
            [sys.executable, "-m", "tests.e2e.receiver", self._file],
        )
        # The operator reads the configuration of an Alertmanager from the Secret of this name.
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "alertmanager-sandbox", "namespace": "monitoring"},
            "stringData": {"alertmanager.yaml": CONFIG},
        }
        kubectl(self._sandbox, "apply", "-f", "-", stdin=json.dumps(secret))

    def received(self) -> list[Notification]:
        """Return every alert that came, in order."""
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        return [
            Notification(sent["receiver"], each["status"], each["labels"], each["annotations"])
            for sent in map(json.loads, lines)
            for each in sent["alerts"]
        ]

    def told(self, alert: str) -> set[str]:
        """Return the receivers that were told that an alert fires."""
        return {
            each.receiver for each in self.received() if (each.labels["alertname"], each.status) == (alert, "firing")
        }

    def state(self, alert: str) -> dict[tuple[str, str], Notification]:
        """Return the last word on an alert of the stack `local`, by model and task."""
        return {
            (each.labels.get("model", ""), each.labels.get("task", "")): each
            for each in self.received()
            if (each.labels["alertname"], each.labels.get("stack")) == (alert, stack.NAME)
        }

    def firing(self, alert: str) -> dict[tuple[str, str], Notification]:
        """Return those of `state` that fire."""
        return {key: each for key, each in self.state(alert).items() if each.status == "firing"}


class _Handler(http.server.BaseHTTPRequestHandler):
    file: Path

    def do_POST(self) -> None:  # the name is http.server's
        """Keep one notification."""
        body: Any = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.file.open("a") as file:
            file.write(json.dumps(body) + "\n")
        self.send_response(200)
        self.end_headers()


if __name__ == "__main__":
    _Handler.file = Path(sys.argv[1])
    http.server.HTTPServer((NODE_ADDRESS, PORT), _Handler).serve_forever()
