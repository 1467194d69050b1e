"""The part of GitHub's API that the scripts call, on loopback; an unexpected call is an error."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlparse

from tests.support.serving import Answer, Asked, answering

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

    def answer(asked: Asked) -> Answer:
        if asked.headers.get("Authorization") != f"Bearer {TOKEN}":
            return Answer(401, b"{}")
        status, told = state.answer(asked.method, asked.path, json.loads(asked.body) if asked.body else None)
        return Answer(status, b"" if told is None else json.dumps(told).encode())

    with answering(answer) as address:
        state.url = f"http://{address}"
        yield state
