"""A page of the test that takes what an Alertmanager sends, to Slack or to a webhook."""

import contextlib
import json
import queue
from collections.abc import Iterator
from typing import Any

from tests.support.serving import Answer, Asked, answering


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

        def answer(asked: Asked) -> Answer:
            body = json.loads(asked.body)
            if self._status == 200:
                self._kept.append(body)
                self.messages.put(body)
            return Answer(self._status, b"ok")

        with answering(answer) as address:
            self.url = f"http://{address}/hook"
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
