"""A real Prometheus on loopback, with a history made of generated blocks, and something that it can scrape."""

import contextlib
import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.monitoring import promtool
from tests.support.ports import free_port
from tests.support.serving import Answer, Asked, answering

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    url: str

    def get(self, path: str, **parameters: str) -> dict[str, Any]:
        """Return the ``data`` of an answer of the HTTP API.

        Raises
        ------
        AssertionError
            If Prometheus refuses, with its reason.
        """
        query = urllib.parse.urlencode(parameters)
        try:
            with _OPENER.open(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
                data: dict[str, Any] = json.load(answer)["data"]
                return data
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{path} {parameters}: {error.read().decode()}") from None

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Return the samples of an instant query, as of now."""
        result: list[dict[str, Any]] = self.get("query", query=expr)["result"]
        return result

    def value(self, expr: str) -> float | None:
        """Return the value of the one sample that `expr` gives; None when it gives none."""
        samples = self.query(expr)
        assert len(samples) <= 1, samples
        return float(samples[0]["value"][1]) if samples else None

    def alerts(self) -> dict[str, dict[str, Any]]:
        """Return the active alerts by name; of several with one name, any."""
        return {alert["labels"]["alertname"]: alert for alert in self.get("alerts")["alerts"]}


def wait_for(what: str, condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """Wait until `condition` holds.

    Raises
    ------
    AssertionError
        When the time is up, naming `what`.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.1)


@contextlib.contextmanager
def serve(
    folder: Path,
    *,
    rules: Sequence[Path] = (),
    targets: Sequence[str] = (),
    scrape: str = "1s",
    crash: bool = False,
    host: str = "127.0.0.1",
) -> Iterator[Prometheus]:
    """Run Prometheus on the data of `folder` until the block ends; the data stays. `crash` ends it by SIGKILL."""
    config = folder / "prometheus.json"
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": scrape, "evaluation_interval": scrape},
                "rule_files": [str(path) for path in rules],
                "scrape_configs": [
                    {"job_name": "gateway", "honor_labels": True, "static_configs": [{"targets": list(targets)}]}
                ],
            }
        ),
        encoding="utf-8",
    )
    # Prometheus logs the address that it was given, not the one that it got, so port 0 would hide it.
    address = f"{host}:{free_port()}"
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=3y",
        f"--web.listen-address={address}",
    ]
    with start(command, folder / "prometheus.log", ready=f"http://{address}/-/ready", crash=crash):
        yield Prometheus(f"http://{address}")


@contextlib.contextmanager
def start(command: Sequence[str], log: Path, *, ready: str, crash: bool = False) -> Iterator[None]:
    """Run a server until the block ends, having waited for its page `ready`."""
    with log.open("ab") as lines, subprocess.Popen(command, stdout=lines, stderr=lines) as process:
        try:
            wait_for(f"{command[0]}; see {log}", lambda: process.poll() is not None or _answers(ready))
            assert process.poll() is None, log.read_text(encoding="utf-8")[-2000:]
            yield
        finally:
            _stop(process, crash=crash)


def _stop(process: subprocess.Popen[bytes], *, crash: bool) -> None:
    if crash:
        process.kill()
    else:
        process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with _OPENER.open(url, timeout=5):
            return True
    except OSError:
        return False


Sample = tuple[str, float, float]
"""A series in PromQL's notation, its value, and its time (Unix time, seconds)."""


def write_history(folder: Path, samples: Iterable[Sample], *, timeout: float = 120.0) -> None:
    """Write `samples` as blocks of the data that `serve` reads."""
    text = folder / "history.om"
    lines = [f"{series} {value!r} {at:.3f}" for series, value, at in sorted(samples)]
    text.write_text("\n".join([*lines, "# EOF", ""]), encoding="utf-8")
    said = promtool.run("tsdb", "create-blocks-from", "openmetrics", text, folder / "data", timeout=timeout)
    assert said.status == 0, said.output


@dataclass
class Gateway:
    """What a Pushgateway shows: text that holds until it is changed."""

    text: str = ""
    address: str = field(default="", init=False)


@contextlib.contextmanager
def gateway() -> Iterator[Gateway]:
    """Serve a gateway's page on loopback until the block ends."""
    page = Gateway()

    def answer(_: Asked) -> Answer:
        return Answer(200, page.text.encode(), {"Content-Type": "text/plain; version=0.0.4"})

    with answering(answer) as page.address:
        yield page
