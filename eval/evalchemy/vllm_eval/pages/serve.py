"""A small read-only web server for the pages of a store: the index and each run's report, and nothing else."""

import html
import logging
import re
import socket
import socketserver
import threading
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from vllm_eval.errors import RunSettingsError, StorageError
from vllm_eval.pages.write import INDEX, PAGE
from vllm_eval.storage import Storage

log = logging.getLogger(__name__)

HEALTH: Final = "/healthz"
# A name of the store is percent-encoded and never begins with a dot, so no path of it leads elsewhere.
_NAME: Final = r"[A-Za-z0-9_%~-][A-Za-z0-9_%~.-]*"
_REPORT: Final = re.compile(rf"runs/{_NAME}/{_NAME}/{_NAME}/{re.escape(PAGE)}")
# Each page has a policy of its own, with the hashes of its one script and style; a browser obeys both.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Prompts and answers stay in no cache.
    "Cache-Control": "no-store",
}
# A page may have 13 MB, and is in memory while it is sent.
_AT_ONCE: Final = 8
_CONNECTIONS: Final = 64
_SILENCE: Final = 30.0


def read_page(storage: Storage, path: str) -> bytes | None:
    """Return the page at a decoded path, such as ``index.html``; None for all that is no page.

    Raises
    ------
    StorageError
        The store cannot be read.
    """
    if path != INDEX and not _REPORT.fullmatch(path):
        return None
    if storage.local is not None:
        root = storage.local.resolve()
        if not (root / path).resolve().is_relative_to(root):
            return None
    return storage.read(path)


def serve_pages(storage: Storage, address: str, port: int) -> None:
    """Serve until the process is ended.

    Raises
    ------
    RunSettingsError
        The address cannot be listened on.
    """
    with open_server(storage, address, port) as server:
        log.info("the reports are at http://%s:%d/", address, server.server_port)
        server.serve_forever()


def open_server(storage: Storage, address: str, port: int) -> ThreadingHTTPServer:
    """Listen on an address, `*` for every one of either family; port 0 takes a free one."""
    every = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - asked for
    try:
        return _Server(
            (every if address == "*" else address, port),
            partial(_Handler, storage, threading.BoundedSemaphore(_AT_ONCE)),
        )
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RunSettingsError(f"--address {address!r}, --port {port}: {reason}") from None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: Any) -> None:  # noqa: ANN401 - made by `partial`
        self._room = threading.BoundedSemaphore(_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind without the base class's look at the DNS, which a pod's network rules may swallow for minutes."""
        if self.address_family == socket.AF_INET6 and self.server_address[0] == "::":
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: object, client_address: object) -> None:
        """Take a connection only while there is room for it: a thread each has no other bound."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)  # type: ignore[arg-type]
        else:
            self.shutdown_request(request)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Serve one connection in its thread."""
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._room.release()


class _Handler(BaseHTTPRequestHandler):
    server_version = "vllm-eval"
    sys_version = ""
    timeout = _SILENCE

    def __init__(self, storage: Storage, pages: threading.BoundedSemaphore, *connection: object) -> None:
        self._storage, self._pages = storage, pages
        super().__init__(*connection)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer with a page."""
        path = unquote(urlsplit(self.path).path, errors="replace").removeprefix("/")
        if f"/{path}" == HEALTH:
            self._say(HTTPStatus.OK, "ok")
            return
        with self._pages:
            try:
                content = read_page(self._storage, path or INDEX)
            except StorageError as error:
                log.error("%s", error)  # noqa: TRY400 - the message is made for people
                self._say(HTTPStatus.SERVICE_UNAVAILABLE, "the results cannot be read; the log says why")
                return
            if content is not None:
                self._send(HTTPStatus.OK, content)
                return
        if path in {"", INDEX}:
            self._say(HTTPStatus.NOT_FOUND, "no run has ended yet; a run writes its report at its end")
        else:
            self._say(HTTPStatus.NOT_FOUND, "there is no such report; the index at / leads to those that are kept")

    def do_HEAD(self) -> None:
        """Answer with what a page's head would be."""
        self.do_GET()

    def _say(self, status: HTTPStatus, text: str) -> None:
        title = f"<!doctype html><html lang=en><title>{status.phrase}</title>"
        self._send(status, f"{title}<p>{html.escape(text)}</p>".encode())

    def _send(self, status: HTTPStatus, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log a request at the level of details: a probe comes every few seconds."""
        log.debug(format, *args)
