"""`vllm-eval serve`: the index and the reports over HTTP, and nothing else of the store."""

import http.client
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest

from tests.support.report_runs import STACK, samples, save_run
from tests.support.serving import serving
from vllm_eval.cli import main
from vllm_eval.errors import StorageError
from vllm_eval.pages.serve import open_server, read_page
from vllm_eval.pages.write import write_pages
from vllm_eval.results import ResultStore
from vllm_eval.storage import LocalStorage

RUN = f"runs/{STACK}/org%2Fsmall-model/run%201"


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    folder = tmp_path / "claim"
    store = ResultStore(LocalStorage(folder))
    write_pages(store, save_run(store, "run 1", 0, "v1", {"task": samples(3, 1.0, 0)}))
    (tmp_path / "secret.html").write_text("not for the world")
    return folder


@pytest.fixture
def port(claim: Path) -> Iterator[int]:
    server = open_server(LocalStorage(claim), "127.0.0.1", 0)
    with serving(server):
        yield server.server_port


def ask(port: int, path: str, method: str = "GET") -> tuple[HTTPResponse, bytes]:
    """Ask for a path exactly as it is written."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.putrequest(method, path)
    connection.endheaders()
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def quoted(path: str) -> str:
    return "/" + path.replace("%", "%25")


def test_the_index_and_a_report_are_served_as_they_are(claim: Path, port: int) -> None:
    for path, file in (("/", "index.html"), ("/index.html", "index.html"), (quoted(f"{RUN}/report.html"),) * 2):
        response, content = ask(port, path)
        assert response.status == 200
        assert content == (claim / (file if file == "index.html" else f"{RUN}/report.html")).read_bytes()
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"


def test_every_answer_forbids_what_a_page_does_not_need(port: int) -> None:
    for path in ("/", "/none", "/healthz"):
        headers = ask(port, path)[0].headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "http" not in policy
        assert "Python" not in headers["Server"]


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.html",
        "/%2e%2e/secret.html",
        "/runs/%2e%2e/%2e%2e/%2e%2e/report.html",
        "/runs/../../secret.html",
        "//etc/passwd",
        "/%00",
        "/runs/a%00b/c/d/report.html",
        quoted(f"{RUN}/result.json"),
        quoted(f"{RUN}/samples/task.jsonl.gz"),
        f"/pages/{STACK}/org%252Fsmall-model.json",
        "/runs/",
        "/runs/link/b/c/report.html",
        "/index.html/",
        "/" + "a" * 5000,
    ],
)
def test_nothing_else_of_the_store_or_the_machine_is_served(claim: Path, port: int, path: str, tmp_path: Path) -> None:
    (tmp_path / "outside/b/c").mkdir(parents=True)
    (tmp_path / "outside/b/c/report.html").write_text("not for the world")
    (claim / "runs/link").symlink_to(tmp_path / "outside")
    response, content = ask(port, path)
    assert response.status == 404
    assert b"no such report" in content
    assert b"not for the world" not in content


def test_only_reading_is_possible(port: int) -> None:
    assert {method: ask(port, "/", method)[0].status for method in ("PUT", "POST", "DELETE", "HEAD")} == {
        "PUT": 501, "POST": 501, "DELETE": 501, "HEAD": 200,
    }  # fmt: skip
    assert ask(port, "/", "HEAD")[1] == b""


def test_a_store_without_a_run_says_so_and_is_healthy(tmp_path: Path) -> None:
    server = open_server(LocalStorage(tmp_path / "empty"), "127.0.0.1", 0)
    with serving(server):
        response, content = ask(server.server_port, "/")
        assert response.status == 404
        assert b"no run has ended yet" in content
        assert ask(server.server_port, "/healthz")[0].status == 200


def test_a_store_that_cannot_be_read_is_no_missing_page(claim: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(LocalStorage):
        def read(self, path: str) -> bytes | None:
            raise StorageError(f"cannot read {path}: Stale file handle")

    server = open_server(Broken(claim), "127.0.0.1", 0)
    with serving(server):
        response, content = ask(server.server_port, "/")
    assert response.status == 503
    assert b"Stale" not in content
    assert "Stale file handle" in caplog.text


def test_a_bucket_has_the_same_rules(claim: Path) -> None:
    class Bucket(LocalStorage):
        def __init__(self, root: Path) -> None:
            super().__init__(root)
            self.local = None

    assert read_page(Bucket(claim), "runs/../../secret.html") is None
    assert read_page(Bucket(claim), f"{RUN}/report.html") is not None


def test_everywhere_is_both_families(claim: Path) -> None:
    server = open_server(LocalStorage(claim), "*", 0)
    with serving(server):
        assert ask(server.server_port, "/healthz")[0].status == 200
        with socket.create_connection(("::1", server.server_port), timeout=5) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.0 200 ")


def test_a_taken_port_is_told_in_one_line(claim: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--out", str(claim), "--port", str(port)]) == 2
    assert f"--address '127.0.0.1', --port {port}: Address already in use" in capsys.readouterr().err
