"""The first page of `make ui`: the sandbox's alerts, scores and reports, Argo CD's state, and what to type for more.

Each request asks the cluster anew. Where a part cannot be shown, the page says
why, so that it helps most when something is broken.
"""

import base64
import hashlib
import html
import json
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from components import labels
from workbench.cluster import report
from workbench.cluster.kubectl import kubectl, service_proxy
from workbench.paths import REPOSITORY
from workbench.sandbox import prometheus_page, stack
from workbench.sandbox.cluster import folder_of_claim
from workbench.sandbox.monitoring import ALERTMANAGER
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import WorkbenchError
from workbench.toolchain import prometheus_page as built

# One look for all pages: the reports' own.
STYLE: Final = REPOSITORY / "eval/evalchemy/vllm_eval/pages/page.css"
HTML: Final = "text/html; charset=utf-8"
SIGNS: Final = {"Synced": "✓", "Healthy": "✓", "Succeeded": "✓", "Progressing": "…", "Running": "…"}


@dataclass(frozen=True)
class Part:
    """A part of the page: what was found, or why nothing was."""

    found: Any
    missing: str


def scores(sandbox: Sandbox) -> list[report.ScoreRow]:
    """Return the scores that Prometheus has."""
    return report.scores(sandbox, stack.NAME)


def alerts(sandbox: Sandbox) -> list[dict[str, str]]:
    """Return the alerts that Alertmanager holds active, oldest first."""
    listed = json.loads(service_proxy(sandbox, ALERTMANAGER, "/api/v2/alerts", active="true"))
    shown = [
        {
            "name": each["labels"].get("alertname", ""),
            "since": each["startsAt"][:19],
            "summary": each["annotations"].get("summary", ""),
            "labels": ", ".join(
                f"{key}={each['labels'][key]}" for key in ("model", "model_tag", "task") if key in each["labels"]
            ),
        }
        for each in listed
    ]
    return sorted(shown, key=lambda each: each["since"])


def application(sandbox: Sandbox) -> dict[str, str]:
    """Return what Argo CD says of the Application."""
    name = ("-n", "argocd", "get", "applications.argoproj.io", labels.APPLICATION, "-o", "json")
    status = json.loads(kubectl(sandbox, *name)).get("status", {})
    return {
        "sync": status.get("sync", {}).get("status", "Unknown"),
        "health": status.get("health", {}).get("status", "Unknown"),
        "revision": status.get("sync", {}).get("revision", "")[:12],
        "message": status.get("operationState", {}).get("message", ""),
    }


def reports(sandbox: Sandbox) -> dict[str, object]:
    """Return whether there is an index of reports, and the newest report of each model."""
    folder = _results(sandbox)
    newest: list[dict[str, object]] = []
    for file in sorted(folder.glob("pages/*/*.json")):
        lines = [line for line in json.loads(file.read_text()) if line["page"]]
        newest += lines[:1]
    if not (folder / "index.html").is_file():
        raise WorkbenchError("no run has ended yet; a run writes its report at its end")
    return {"newest": newest}


def render(sandbox: Sandbox, addresses: Sequence[object]) -> bytes:
    """Return the page."""
    parts: dict[str, Callable[[], object]] = {
        each.__name__: partial(each, sandbox) for each in (scores, alerts, application, reports)
    }
    with ThreadPoolExecutor(len(parts)) as pool:
        found = dict(zip(parts, pool.map(_part, parts.values()), strict=True))
    style = STYLE.read_text(encoding="utf-8")
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    text = environment.get_template("door.html").render(
        style=Markup(style),  # noqa: S704 - our own file
        hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        parts=found,
        signs=SIGNS,
        addresses=addresses,
        prometheus=prometheus_page.START if built.folder(sandbox.paths).is_dir() else "",
    )
    return text.encode("utf-8", "replace")


def _results(sandbox: Sandbox) -> Path:
    return folder_of_claim(sandbox, labels.NAMESPACE, labels.RESULTS_CLAIM)


def _part(look: Callable[[], object]) -> Part:
    try:
        return Part(look(), "")
    except (WorkbenchError, ValueError, KeyError, TypeError, OSError) as error:
        return Part(None, str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__)


def serve(listener: socket.socket, sandbox: Sandbox, addresses: Sequence[object]) -> ThreadingHTTPServer:
    """Serve the page and the reports on a listening socket, in threads that end with the program."""
    server = ThreadingHTTPServer(
        listener.getsockname()[:2], partial(_Handler, sandbox, addresses), bind_and_activate=False
    )
    server.daemon_threads = True
    server.socket.close()
    server.socket = listener
    threading.Thread(target=server.serve_forever, args=[0.1], name="door", daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, sandbox: Sandbox, addresses: Sequence[object], *connection: Any) -> None:  # noqa: ANN401
        self._sandbox, self._addresses = sandbox, addresses
        super().__init__(*connection)

    def do_GET(self) -> None:
        """Answer with the page or with a report."""
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host not in {"127.0.0.1", "localhost"}:
            # A page of another site, whose name leads to this machine, may not read the answers.
            self._say(HTTPStatus.FORBIDDEN, "only as 127.0.0.1 or localhost")
            return
        path, query = urlsplit(self.path)[2:4]
        page = built.folder(self._sandbox.paths)
        if path.startswith(f"{prometheus_page.PREFIX}/") and page.is_dir():
            self._send(*prometheus_page.answer(self._sandbox, page, path.removeprefix(prometheus_page.PREFIX), query))
        elif path == "/":
            self._send(HTTPStatus.OK, HTML, render(self._sandbox, self._addresses))
        elif path.startswith("/results/"):
            self._report(unquote(path.removeprefix("/results/")))
        else:
            self._say(HTTPStatus.NOT_FOUND, "there is no such page; the first one is /")

    def _report(self, name: str) -> None:
        try:
            folder = _results(self._sandbox).resolve()
            file = (folder / name).resolve()
            inside = file.is_relative_to(folder) and file.suffix == ".html" and file.is_file()
            content = file.read_bytes() if inside else None
        except (WorkbenchError, OSError, ValueError) as error:
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
            return
        if content is None:
            self._say(HTTPStatus.NOT_FOUND, "there is no such report; /results/index.html leads to all of them")
        else:
            self._send(HTTPStatus.OK, HTML, content)

    def _say(self, status: HTTPStatus, text: str) -> None:
        self._send(status, HTML, f"<!doctype html><title>{status.phrase}</title><p>{html.escape(text)}</p>".encode())

    def _send(self, status: HTTPStatus, media: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the terminal shows the addresses."""
