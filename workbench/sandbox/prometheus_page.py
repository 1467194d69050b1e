"""Prometheus' own page, served by `make ui`: its files come from the cache, its data through the API server."""

import json
import mimetypes
from http import HTTPStatus
from pathlib import Path
from typing import Final

from workbench.cluster.kubectl import PROMETHEUS, kubectl
from workbench.shell import CommandError, Runner

PREFIX: Final = "/prometheus"
START: Final = f"{PREFIX}/query"
# What Prometheus itself fills in when it serves its page.
FILLED: Final = {
    "CONSOLES_LINK_PLACEHOLDER": "", "AGENT_MODE_PLACEHOLDER": "false", "READY_PLACEHOLDER": "true",
    "LOOKBACKDELTA_PLACEHOLDER": "5m", "TITLE_PLACEHOLDER": "Prometheus of the sandbox",
}  # fmt: skip

Answer = tuple[HTTPStatus, str, bytes]


def answer(runner: Runner, folder: Path, path: str, query: str) -> Answer:
    """Return status, media type and content of a path below `PREFIX`.

    Parameters
    ----------
    folder
        Where the page's files are.
    path, query
        As they were asked for, the path without `PREFIX`.
    """
    if path.startswith("/api/v1/"):
        return _asked(runner, path, query)
    file = (folder / path.lstrip("/")).resolve()
    if path.startswith("/assets/") or path == "/favicon.svg":
        if not file.is_relative_to(folder.resolve()) or not file.is_file():
            return HTTPStatus.NOT_FOUND, "text/plain", b"no such file"
        return HTTPStatus.OK, mimetypes.guess_type(file.name)[0] or "application/octet-stream", file.read_bytes()
    # The page itself routes every other path.
    text = (folder / "index.html").read_text(encoding="utf-8")
    for word, value in FILLED.items():
        text = text.replace(word, value)
    return HTTPStatus.OK, "text/html; charset=utf-8", text.encode()


def _asked(runner: Runner, path: str, query: str) -> Answer:
    where, service = PROMETHEUS.split("/")
    address = f"/api/v1/namespaces/{where}/services/{service}/proxy{path}{f'?{query}' if query else ''}"
    try:
        return HTTPStatus.OK, "application/json", kubectl(runner, "get", f"--raw={address}").encode()
    except CommandError as error:
        told = {"status": "error", "errorType": "unavailable", "error": error.last}
        return HTTPStatus.BAD_GATEWAY, "application/json", json.dumps(told).encode()
