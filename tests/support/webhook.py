"""A page of the test that takes what an Alertmanager sends, to Slack or to a webhook."""

import contextlib
import http.server
import json
import queue
from collections.abc import Iterator
from typing import Any

from tests.support.serving import serving


class Webhook:
    """Keeps every message as it came; `messages` also hands them out one by one."""

    def __init__(self) -> None:
        self.url = ""
        self.messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self._kept: list[dict[str, Any]] = []
        self._status = 200

    @contextlib.contextmanager
    def listen(self) -> Iterator[str]:
        """Serve on loopback and return the address."""
        page = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if page._status == 200:
                    page._kept.append(body)
                    page.messages.put(body)
                self.send_response(page._status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        with serving(server):
            yield self.url

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Answer as to a wrong address, which Alertmanager does not try again."""
        self._status = 404
        try:
            yield
        finally:
            self._status = 200

    def alerts(self, name: str, status: str) -> list[dict[str, Any]]:
        """Return every alert of this name and status that came to a webhook."""
        every = [alert for message in self._kept for alert in message.get("alerts", [])]
        return [each for each in every if (each["labels"]["alertname"], each["status"]) == (name, status)]
