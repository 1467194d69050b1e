"""A real Alertmanager with the routing example for Slack, which sends to a page of the test in Slack's place."""

import contextlib
import datetime
import http.client
import http.server
import json
import queue
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.kernel import NO_MOUNTS, can_mount, own_mounts
from tests.support.monitoring.prometheus import start
from tests.support.ports import free_port

EXAMPLE = Path(__file__).parents[3] / "monitoring" / "alertmanager-slack.yaml"
# Debian's build reads its default templates from here, and nowhere else.
TEMPLATES = Path("/usr/share/prometheus/alertmanager")


class Slack:
    """Takes what would go to Slack."""

    def __init__(self) -> None:
        self.messages: queue.Queue[dict[str, Any]] = queue.Queue()

    @contextlib.contextmanager
    def listen(self) -> Iterator[str]:
        messages = self.messages

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                messages.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_address[1]}/hook"
            finally:
                server.shutdown()
                thread.join()


def _at_home(command: list[str]) -> list[str]:
    """Return `command` so that it finds its templates, also where its package was unpacked and not installed."""
    binary = shutil.which(command[0])
    assert binary, f"{command[0]} is not on the PATH"
    share = Path(binary).resolve().parents[1] / "share"
    if TEMPLATES.exists() or not (share / "prometheus" / "alertmanager").exists():
        return command
    if not can_mount():
        pytest.skip(NO_MOUNTS)
    script = 'mount -t overlay overlay -o "lowerdir=$0:/usr/share" /usr/share && exec "$@"'
    return [*own_mounts(), "sh", "-c", script, str(share), binary, *command[1:]]


@contextlib.contextmanager
def running_alertmanager(folder: Path, slack: Slack) -> Iterator[str]:
    """Run it until the end of the block, and give its address."""
    with slack.listen() as hook:
        (folder / "url").write_text(hook, encoding="utf-8")
        text = EXAMPLE.read_text(encoding="utf-8")
        for shipped, here in (
            ("/etc/alertmanager/secrets/slack/url", str(folder / "url")),
            ("group_wait: 1m", "group_wait: 1s"),
            ("group_interval: 10m", "group_interval: 1s"),
        ):
            assert shipped in text
            text = text.replace(shipped, here)
        config = folder / "alertmanager.yaml"
        config.write_text(text, encoding="utf-8")
        address = f"127.0.0.1:{free_port()}"
        command = [
            "prometheus-alertmanager",
            f"--config.file={config}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",
        ]
        with start(_at_home(command), folder / "alertmanager.log", ready=f"http://{address}/-/ready"):
            yield address


def post(manager: str, *alerts: Mapping[str, str], annotations: Mapping[str, str], ended: bool = False) -> None:
    """Tell it of alerts by their labels; of ``stack`` prod and ``model`` m unless they say otherwise."""
    now = datetime.datetime.now(datetime.UTC)
    hour = datetime.timedelta(hours=1)
    # An alert that began long ago would be sent at once, before the inhibiting one is known.
    times = {"startsAt": now - hour if ended else now, "endsAt": now if ended else now + hour}
    body = [
        {"labels": {"stack": "prod", "model": "m", **labels}, "annotations": annotations}
        | {name: at.isoformat() for name, at in times.items()}
        for labels in alerts
    ]
    with contextlib.closing(http.client.HTTPConnection(manager, timeout=10)) as connection:
        connection.request("POST", "/api/v2/alerts", json.dumps(body), {"Content-Type": "application/json"})
        assert connection.getresponse().status == 200
