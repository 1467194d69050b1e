"""The part of GitHub's API that the scripts call, on loopback; an unexpected call is an error."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlparse

from tests.support.serving import serving

REPOSITORY: Final = "acme/vllm-eval"
TOKEN: Final = "job-token"
NUMBER: Final = 7


@dataclass
class GitHubServer:
    """What the server holds and has been asked."""

    url: str = ""
    comments: list[dict[str, Any]] = field(default_factory=list)
    dispatches: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    writes: int = 0
    refuse: int = 0

    def add_comment(self, body: str, kind: str) -> None:
        """Put a comment of a `Bot` or a `User` on the pull request."""
        self.comments.append({"id": len(self.comments) + 1, "body": body, "user": {"type": kind}})

    def answer(self, method: str, target: str, body: dict[str, Any] | None) -> tuple[int, Any]:
        """Return status and JSON of one call."""
        if self.refuse:
            return self.refuse, {"message": "Resource not accessible by integration"}
        parsed = urlparse(target)
        path = parsed.path.removeprefix(f"/repos/{REPOSITORY}/")
        if method == "GET" and path == f"issues/{NUMBER}/comments":
            query = parse_qs(parsed.query)
            size, page = int(query["per_page"][0]), int(query["page"][0])
            return 200, self.comments[(page - 1) * size : page * size]
        assert body is not None
        self.writes += 1
        if method == "POST" and path == f"issues/{NUMBER}/comments":
            self.add_comment(body["body"], "Bot")
            return 201, self.comments[-1]
        if method == "PATCH" and (found := re.fullmatch(r"issues/comments/(\d+)", path)):
            self.comments[int(found[1]) - 1]["body"] = body["body"]
            return 200, self.comments[int(found[1]) - 1]
        if method == "POST" and (found := re.fullmatch(r"actions/workflows/([\w.]+)/dispatches", path)):
            self.dispatches.append((found[1], body))
            return 204, None
        return 404, {"message": f"unexpected {method} {target}"}


@contextmanager
def github_server() -> Iterator[GitHubServer]:
    """Run the server until the block ends."""
    state = GitHubServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def do_PATCH(self) -> None:
            self._serve()

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            body = json.loads(self.rfile.read(length)) if length else None
            trusted = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            status, answer = state.answer(self.command, self.path, body) if trusted else (401, {})
            data = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    with serving(server):
        yield state
