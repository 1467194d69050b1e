"""The routing example for Slack, loaded by a real Alertmanager that sends to a page of the test."""

import contextlib
import datetime
import http.client
import http.server
import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.kernel import NO_MOUNTS, can_mount, own_mounts
from tests.support.monitoring.prometheus import start
from tests.support.ports import free_port

EXAMPLE = Path(__file__).parents[3] / "monitoring" / "alertmanager-slack.yaml"
# Debian's build reads its default templates from here, and nowhere else.
TEMPLATES = Path("/usr/share/prometheus/alertmanager")
ANNOTATIONS = {
    "summary": "fell",
    "description": "t of m fell to 60%",
    "runbook_url": "https://runbook#x",
    "dashboard_url": "https://grafana/d/vllm-eval?var-model=m",
    "report_url": "https://reports/index.html#prod/org%2Fm",
}


def _amtool(*arguments: str) -> str:
    done = subprocess.run(["amtool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_alertmanager_takes_the_example() -> None:
    assert "SUCCESS" in _amtool("check-config", str(EXAMPLE))


@pytest.mark.parametrize(
    ("alert", "severity", "receiver"),
    [
        ("EvaluationRegression", "critical", "on-call"),
        ("CustomTaskRegression", "warning", "team"),
        ("EvaluationStale", "warning", "team"),
        ("EvaluationNoBaseline", "info", "nobody"),
        ("SomebodyElses", "critical", "nobody"),
    ],
)
def test_routes(alert: str, severity: str, receiver: str) -> None:
    labels = [f"alertname={alert}", f"severity={severity}", "stack=prod", "model=m"]
    assert _amtool("config", "routes", "test", f"--config.file={EXAMPLE}", *labels) == receiver


class _Slack:
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


@pytest.fixture
def slack() -> _Slack:
    return _Slack()


@pytest.fixture
def manager(tmp_path: Path, slack: _Slack) -> Iterator[str]:
    with slack.listen() as hook:
        (tmp_path / "url").write_text(hook, encoding="utf-8")
        text = EXAMPLE.read_text(encoding="utf-8")
        for shipped, here in (
            ("/etc/alertmanager/secrets/slack/url", str(tmp_path / "url")),
            ("group_wait: 1m", "group_wait: 1s"),
            ("group_interval: 10m", "group_interval: 1s"),
        ):
            assert shipped in text
            text = text.replace(shipped, here)
        config = tmp_path / "alertmanager.yaml"
        config.write_text(text, encoding="utf-8")
        address = f"127.0.0.1:{free_port()}"
        command = [
            "prometheus-alertmanager",
            f"--config.file={config}",
            f"--storage.path={tmp_path / 'data'}",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",
        ]
        with start(_at_home(command), tmp_path / "alertmanager.log", ready=f"http://{address}/-/ready"):
            yield address


def _post(manager: str, *alerts: dict[str, str], ended: bool = False) -> None:
    now = datetime.datetime.now(datetime.UTC)
    hour = datetime.timedelta(hours=1)
    # An alert that began long ago would be sent at once, before the inhibiting one is known.
    times = {"startsAt": now - hour if ended else now, "endsAt": now if ended else now + hour}
    body = [
        {"labels": {"stack": "prod", "model": "m", **labels}, "annotations": ANNOTATIONS}
        | {name: at.isoformat() for name, at in times.items()}
        for labels in alerts
    ]
    with contextlib.closing(http.client.HTTPConnection(manager, timeout=10)) as connection:
        connection.request("POST", "/api/v2/alerts", json.dumps(body), {"Content-Type": "application/json"})
        assert connection.getresponse().status == 200


WORSE = {"alertname": "EvaluationRegression", "severity": "critical", "task": "t"}
FELL = {"alertname": "CustomTaskRegression", "severity": "warning", "task": "t"}
ELSEWHERE = {"alertname": "CustomTaskRegression", "severity": "warning", "task": "other"}


def test_what_slack_gets(manager: str, slack: _Slack) -> None:
    _post(manager, WORSE, FELL)
    message = slack.messages.get(timeout=60)
    assert message["channel"] == "#on-call"
    [attachment] = message["attachments"]
    assert attachment["title"] == "EvaluationRegression, m in prod"
    assert attachment["title_link"] == "https://runbook#x"
    assert attachment["text"] == (
        "• t of m fell to 60% <https://grafana/d/vllm-eval?var-model=m|Dashboard>"
        " <https://reports/index.html#prod/org%2Fm|Answers>\n"
    )
    assert attachment["color"] == "danger"

    # The lesser alert of the same task was inhibited; that of another task is not.
    _post(manager, WORSE, FELL, ELSEWHERE)
    message = slack.messages.get(timeout=60)
    assert (message["channel"], message["attachments"][0]["color"]) == ("#model-quality", "warning")
    assert message["attachments"][0]["text"].count("•") == 1

    _post(manager, WORSE, FELL, ELSEWHERE, ended=True)
    ends = [slack.messages.get(timeout=60) for _ in range(2)]
    titles = {message["channel"]: message["attachments"][0]["title"] for message in ends}
    assert titles == {
        "#on-call": "Resolved: EvaluationRegression, m in prod",
        "#model-quality": "Resolved: CustomTaskRegression, m in prod",
    }
    assert all(message["attachments"][0]["color"] == "good" for message in ends)
