"""A real Pushgateway for a test, and a strict stand-in that refuses on purpose."""

import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tests.support.ports import free_port
from tests.support.serving import Answer, Asked, answering


@dataclass(frozen=True)
class Series:
    """One scraped sample."""

    name: str
    labels: dict[str, str]
    value: float


class Pushgateway:
    """What a running gateway holds."""

    def __init__(self, url: str) -> None:
        self.url = url

    def series(self, stack: str) -> list[Series]:
        """Scrape the vllm_eval series of one stack, once every earlier request has had its effect.

        The gateway answers a DELETE before it carries it out. It carries out all requests in their order, and it
        answers a PUT only afterwards, so an empty PUT waits for the others.
        """
        barrier = urllib.request.Request(f"{self.url}/metrics/job/barrier", data=b"", method="PUT")  # noqa: S310
        urllib.request.urlopen(barrier, timeout=10).close()  # noqa: S310 - loopback
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as response:  # noqa: S310 - loopback
            text = response.read().decode()
        return [
            Series(sample.name, dict(sample.labels), sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith("vllm_eval_") and sample.labels.get("stack") == stack
        ]

    def flags(self) -> dict[str, str]:
        """Return what the program was started with, defaults included."""
        with urllib.request.urlopen(f"{self.url}/api/v1/status", timeout=10) as response:  # noqa: S310 - loopback
            return dict(json.load(response)["data"]["flags"])

    def values(self, stack: str, name: str) -> dict[str, float]:
        """Return one metric's values by task (by model for metrics without a task)."""
        found = [item for item in self.series(stack) if item.name == name]
        return {item.labels.get("task", item.labels["model"]): item.value for item in found}


@contextmanager
def running_pushgateway() -> Iterator[Pushgateway]:
    """Start the real binary on a free loopback port and stop it at the end."""
    port = free_port()
    # Debian's build keeps its series in a file of the machine's own unless it is told of none.
    command = ["prometheus-pushgateway", f"--web.listen-address=127.0.0.1:{port}", "--persistence.file="]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        _await_ready(f"{url}/-/ready", process)
        yield Pushgateway(url)
    finally:
        process.terminate()
        process.wait(timeout=10)


def _await_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - loopback
                return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None:
                raise RuntimeError(f"the Pushgateway ended with {process.returncode}") from None
            time.sleep(0.05)
    raise RuntimeError("the Pushgateway did not become ready")


@dataclass(frozen=True)
class RefusingGateway:
    """Answers every request with one status and keeps what it was sent."""

    url: str
    received: list[tuple[str, str, bytes]]


@contextmanager
def refusing_gateway(status: int, ssl_context: ssl.SSLContext | None = None) -> Iterator[RefusingGateway]:
    """Start an HTTP server (with a context: HTTPS) that answers ``status`` to everything."""
    received: list[tuple[str, str, bytes]] = []

    def answer(asked: Asked) -> Answer:
        received.append((asked.method, asked.path, asked.body))
        return Answer(status)

    with answering(answer, tls=ssl_context) as address:
        yield RefusingGateway(f"{'https' if ssl_context else 'http'}://{address}", received)
