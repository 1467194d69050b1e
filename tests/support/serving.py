"""Runs a server of the standard library in a thread for as long as a test needs it."""

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import NamedTuple


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    path: str
    headers: Message
    body: bytes


class Answer(NamedTuple):
    """What a request is answered with."""

    status: int = 200
    content: bytes = b""
    headers: Mapping[str, str] = {}


@contextmanager
def answering(
    answer: Callable[[Asked], Answer], host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Answer every request by a function, on a free port; yield ``host:port``."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            given = answer(Asked(self.command, self.path, self.headers, body))
            self.send_response(given.status)
            for name, value in {**given.headers, "Content-Length": str(len(given.content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(given.content)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - the names are http.server's

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((host, 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        # A client that breaks off the handshake is what some tests want; it is no error worth a traceback.
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
    with serving(server):
        yield f"{host}:{server.server_port}"


@contextmanager
def serving(server: HTTPServer) -> Iterator[None]:
    """Serve until the end of the block; the thread and the socket are gone then."""
    # Its end waits for one look of the loop.
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
