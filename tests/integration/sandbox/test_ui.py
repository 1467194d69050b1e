"""`make ui` into real namespaces: what listens there is seen here, and nothing is left when it ends."""

import http.client
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.sandbox.conftest import Program
from tests.support.ports import free_port
from workbench.paths import REPOSITORY, Paths
from workbench.sandbox import ui
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import WorkbenchError, wait_for

INSIDE = 8000
# Says where every Service's pod is, as the API server would.
KUBECTL = f"""cat <<END
{{"items": [{{"endpoints": [{{"addresses": ["127.0.0.1"], "conditions": {{"ready": true}}}}],
  "ports": [{{"name": "metrics", "port": 1}}, {{"name": "web", "port": {INSIDE}}}, {{"name": "https", "port": 9}}]}}]}}
END"""


@pytest.fixture
def served(sandbox: Sandbox, program: Program, tmp_path: Path) -> Sandbox:
    """Namespaces with a web server in place of a cluster."""
    program("kubectl", KUBECTL)
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages/hello").write_text("seen\n" * 100_000)
    server = [sys.executable, "-m", "http.server", "--bind=127.0.0.1", f"--directory={tmp_path}/pages", str(INSIDE)]
    sandbox.daemon("server", server)
    probe = [sys.executable, "-c", f"import socket; socket.create_connection(('127.0.0.1', {INSIDE}))"]
    wait_for("the server inside", lambda: sandbox.run(probe) == "", seconds=60)
    return sandbox


@pytest.fixture
def ports() -> list[int]:
    return [free_port() for _ in ui.PAGES]


@contextmanager
def running_ui(ports: list[int]) -> Iterator["subprocess.Popen[str]"]:
    """Run `make ui`, ready, and end it whatever happens."""
    # Ctrl-C must reach it also where the tests run in the background, which ignores it.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "workbench", "ui"]
    command += ["--ports", ",".join(map(str, ports))]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert any("Ctrl-C" in line for line in process.stdout), process.wait(timeout=60)
            yield process
        finally:
            process.kill()


def get(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/hello")
    body = connection.getresponse().read()
    connection.close()
    return body


def children(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()


def test_pages_inside_are_seen_outside_until_ctrl_c(served: Sandbox, ports: list[int]) -> None:
    with pytest.raises(ConnectionRefusedError):
        get(INSIDE)  # it listens inside alone
    with running_ui(ports) as process:
        bodies = {get(port) for port in ports[1:] * 3}
        assert bodies == {b"seen\n" * 100_000}
        # Argo CD's port has nobody behind it: the connection ends, and the others stay.
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            get(ports[0])
        assert get(ports[1])
        assert children(process.pid) == ""
        with socket.create_connection(("127.0.0.1", ports[2])) as idle:  # as a browser keeps one open
            idle.send(b"GET /hello HTTP/1.1\r\n")
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Argo CD cannot be reached: " in out
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            get(port)


def links(found: Iterable[Path]) -> Iterator[Path]:
    """Yield where links of /proc lead; one may be gone since it was listed."""
    for each in found:
        with suppress(OSError):
            yield each.readlink()


def sockets(pid: int) -> int:
    """Count the sockets of a process but those that it was given."""
    opened = (each for each in Path(f"/proc/{pid}/fd").iterdir() if int(each.name) > 2)
    return sum("socket" in str(each) for each in links(opened))


def test_a_client_that_breaks_off_leaves_no_connection_inside(served: Sandbox, ports: list[int]) -> None:
    idle = len(ports) + 2  # asyncio wakes itself by a pair
    with running_ui(ports) as process:
        wait_for("the loop", lambda: sockets(process.pid) == idle, seconds=60)
        with socket.create_connection(("127.0.0.1", ports[1])) as client:
            client.send(b"GET /hello HTTP/1.1\r\n")  # and the server waits for the rest
            wait_for("both halves", lambda: sockets(process.pid) == idle + 2, seconds=60)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, no farewell
        wait_for("the end of both", lambda: sockets(process.pid) == idle, seconds=60)


def namespaces_of(pid: int) -> set[Path]:
    """Return the network namespaces of a process's threads."""
    return set(links(each / "ns/net" for each in Path(f"/proc/{pid}/task").iterdir()))


def test_an_open_ui_keeps_no_ended_sandbox_alive(served: Sandbox, ports: list[int]) -> None:
    with running_ui(ports) as process:
        assert get(ports[1])
        network = Path(f"/proc/{served.pid()}/ns/net").readlink()
        served.stop()
        wait_for("its end here", lambda: network not in namespaces_of(process.pid), seconds=60)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            get(ports[1])
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "there is no running sandbox" in out


def test_a_taken_port_is_one_error_before_anything_is_forwarded(sandbox: Sandbox, ports: list[int]) -> None:
    with socket.create_server(("127.0.0.1", ports[2])), pytest.raises(WorkbenchError) as error:
        ui.serve(sandbox, ui.chosen(",".join(map(str, ports))))
    assert f"port {ports[2]} for Alertmanager: Address already in use" in str(error.value)
    assert "make ui UI_PORTS=18080,19090,19093" in str(error.value)
    for port in ports:  # free again: nothing was begun
        socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize("given", ["8080", "1,2,x", "1,2,99999", "1,1,2", "1,2,3,4", ","])
def test_ports_that_are_none_are_refused(given: str) -> None:
    with pytest.raises(WorkbenchError, match=f"UI_PORTS is '{given}': name a port each for Argo CD, Prometheus"):
        ui.chosen(given)


def test_without_a_sandbox_it_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="type `make up` first"):
        ui.serve(Sandbox(Paths(tmp_path, "test")), ui.PAGES)
