"""A Hugging Face hub on loopback, as `huggingface_hub` and `datasets` speak to it: data sets with commits that move.

Real are the two libraries; the hub's files, revisions, gates and faults are ours.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from tests.support.serving import serving

Rows = list[dict[str, Any]]
Splits = Mapping[str, Rows]


@dataclass
class Repository:
    """One data set: commits by their hash (the newest last), each with its files; `token` is who may read it."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    licence: str = "mit"
    gated: bool | str = False
    token: str | None = None

    @property
    def head(self) -> str:
        """The commit that `main` is at."""
        return list(self.commits)[-1]


class Hub:
    """The hub's data sets. ``status`` maps the part of a path to the status that it is answered with."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.status: dict[str, int] = {}
        self.asked: list[str] = []
        self.url = ""

    def put(self, name: str, configs: Mapping[str, Splits], **options: Any) -> str:  # noqa: ANN401 - Repository's
        """Commit a data set's rows by configuration and split; return the commit."""
        files: dict[str, bytes] = {}
        listed = []
        for config, splits in configs.items():
            data_files = []
            for split, rows in splits.items():
                path = f"{config}/{split}.jsonl"
                files[path] = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
                data_files.append({"split": split, "path": path})
            listed.append({"config_name": config, "data_files": data_files})
        repository = self.repositories.setdefault(name, Repository())
        for key, value in options.items():
            setattr(repository, key, value)
        card = yaml.safe_dump({"license": repository.licence, "configs": listed})
        files["README.md"] = f"---\n{card}---\n".encode()
        commit = hashlib.sha1(b"".join(files.values()) + name.encode(), usedforsecurity=False).hexdigest()
        repository.commits.pop(commit, None)
        repository.commits[commit] = files
        return commit

    def environ(self, cache: object) -> dict[str, str]:
        """Return what points the libraries here, with a cache of their own."""
        return {
            "HF_ENDPOINT": self.url, "HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0", "HF_HOME": str(cache),
            "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "",
        }  # fmt: skip

    def answer(  # noqa: PLR0911 - one return a kind of answer
        self, path: str, token: str | None, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Answer one request."""
        self.asked.append(path)
        for part, status in self.status.items():
            if part in path:
                return status, {}, b"{}"
        steps = [unquote(step) for step in urlsplit(path).path.strip("/").split("/")]
        api = steps[0] == "api"
        steps = steps[1:] if api else steps
        if len(steps) < 3 or steps[0] != "datasets":
            return 404, {}, b"{}"
        name, rest = f"{steps[1]}/{steps[2]}", steps[3:]
        repository = self.repositories.get(name)
        if repository is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        if repository.token is not None and token != repository.token and (not api or rest[:1] != ["revision"]):
            return (403 if token else 401), {"X-Error-Code": "GatedRepo"}, b"{}"
        if token == "expired":
            return 401, {"X-Error-Message": "Invalid username or password."}, b"{}"
        revision = rest[1] if len(rest) > 1 else "main"
        commit = repository.head if revision == "main" else revision
        files = repository.commits.get(commit)
        if files is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        if not api:
            return _file(files, commit, "/".join(rest[2:]))
        return (
            200,
            {"Content-Type": "application/json"},
            json.dumps(_api(repository, name, commit, rest, body)).encode(),
        )


def _file(files: Mapping[str, bytes], commit: str, path: str) -> tuple[int, dict[str, str], bytes]:
    if path not in files:
        return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, b""
    etag = hashlib.sha256(files[path]).hexdigest()
    return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": commit}, files[path]


def _api(repository: Repository, name: str, commit: str, rest: list[str], body: bytes) -> Any:  # noqa: ANN401 - JSON
    files = repository.commits[commit]
    entries = [
        {"type": "file", "oid": hashlib.sha256(content).hexdigest()[:40], "size": len(content), "path": path}
        for path, content in sorted(files.items())
    ]
    kind = rest[0] if rest else "revision"
    if kind == "tree":
        folder = "/".join(rest[2:])
        inside = [entry for entry in entries if not folder or str(entry["path"]).startswith(f"{folder}/")]
        folders = sorted({str(entry["path"]).rpartition("/")[0] for entry in inside} - {"", folder})
        return [*({"type": "directory", "oid": commit, "size": 0, "path": each} for each in folders), *inside]
    if kind == "paths-info":
        from urllib.parse import parse_qs

        text = body.decode()
        paths = json.loads(text)["paths"] if text.startswith("{") else parse_qs(text).get("paths", [])
        known = [entry for entry in entries if entry["path"] in paths]
        folders = sorted(path for path in paths if any(file.startswith(f"{path}/") for file in files))
        return [*known, *({"type": "directory", "oid": commit, "size": 0, "path": each} for each in folders)]
    return {
        "id": name, "sha": commit, "private": False, "gated": repository.gated, "disabled": False, "downloads": 0,
        "likes": 0, "tags": [], "cardData": {"license": repository.licence},
        "siblings": [{"rfilename": path} for path in files],
    }  # fmt: skip


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Serve a hub on a free port of loopback until the block ends."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        """Hands every request to the hub."""

        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
            status, headers, content = hub.answer(self.path, token, body)
            content, status, headers = _ranged(self.headers.get("Range"), status, headers, content)
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = _serve  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    with serving(server):
        yield hub


def _ranged(
    asked: str | None, status: int, headers: dict[str, str], content: bytes
) -> tuple[bytes, int, dict[str, str]]:
    if asked is None or status != 200:
        return content, status, headers
    first, _, last = asked.removeprefix("bytes=").partition("-")
    end = min(int(last), len(content) - 1) if last else len(content) - 1
    span = {"Content-Range": f"bytes {int(first or 0)}-{end}/{len(content)}"}
    return content[int(first or 0) : end + 1], 206, {**headers, **span}
