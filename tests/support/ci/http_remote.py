"""Serves a bare repository on loopback, as the sandbox serves its own, to those who know the password."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

from tests.support.serving import serving
from workbench.sandbox.git import GitHandler


@contextmanager
def http_remote(bare: Path, *, token: str, may_push: bool = True) -> Iterator[str]:
    """Yield the URL of the repository; without the token answers are 401, pushes that may not be are 403."""
    expected = "Basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()

    class Handler(GitHandler):
        root = bare.parent

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

        def backend(self, body: bytes) -> None:
            if self.headers.get("Authorization") != expected:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif "git-receive-pack" in self.path and not may_push:
                self.send_error(403)
            else:
                super().backend(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}/{bare.name}"
