"""A page of the sandbox, and the APIs of Argo CD, Prometheus and Alertmanager, on loopback ports as long as it runs.

The listening sockets are the machine's own. For each connection a thread enters
the sandbox's network for as long as it takes to open one there: no process is
started, and nothing keeps the network alive after `make down`.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from vllm_eval.metrics import EXACT_MATCH
from workbench.cluster.kubectl import kubectl
from workbench.sandbox import door
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import WorkbenchError, say

LOOPBACK: Final = "127.0.0.1"
PASSWORD: Final = "kubectl -n argocd get secret argocd-initial-admin-secret -o jsonpath='{.data.password}' | base64 -d"  # noqa: S105 (a command)


@dataclass(frozen=True)
class Door:
    """The page that people open first, and its port of this machine."""

    title: str
    port: int

    @property
    def url(self) -> str:
        """What to type into a browser."""
        return f"http://{LOOPBACK}:{self.port}"


@dataclass(frozen=True)
class Page:
    """A Service of the sandbox, and the port of this machine that leads to it.

    Each is only an API: the Go modules of Argo CD and Prometheus hold no web pages, and Debian's package of
    Alertmanager leaves its page out. ``path`` is an example of what the API can be asked.
    """

    title: str
    scheme: str
    namespace: str
    service: str
    port_name: str
    port: int
    path: str

    @property
    def url(self) -> str:
        """The address of its API."""
        return f"{self.scheme}://{LOOPBACK}:{self.port}"

    @property
    def example(self) -> str:
        """A command that asks it something."""
        return f"curl -s{'k' if self.scheme == 'https' else ''} '{self.url}{self.path}'"


DOOR: Final = Door("the sandbox", 8000)
PAGES: Final = (
    Page("Argo CD", "https", "argocd", "argocd-server", "https", 8080, "/api/version"),
    Page("Prometheus", "http", "monitoring", "prometheus-operated", "web", 9090,
         f"/api/v1/query?query={EXACT_MATCH.name}"),
    Page("Alertmanager", "http", "monitoring", "alertmanager-operated", "web", 9093, "/api/v2/alerts"),
)  # fmt: skip
EXAMPLE: Final = "UI_PORTS=18000,18080,19090,19093"


def chosen(given: str) -> tuple[Door, tuple[Page, ...]]:
    """Return the first page and the APIs, on the ports that UI_PORTS names.

    Raises
    ------
    WorkbenchError
        When it does not name a port for each.
    """
    if not given:
        return DOOR, PAGES
    words = given.split(",")
    ports = {int(each) for each in words if each.isdecimal() and each.isascii() and 0 < int(each) < 65536}
    if len(ports) != len(PAGES) + 1 or len(words) != len(PAGES) + 1:
        titles = ", ".join(page.title for page in (DOOR, *PAGES))
        raise WorkbenchError(f"UI_PORTS is {given!r}: name a port each for {titles}, such as {EXAMPLE}")
    pages = (replace(page, port=int(port)) for page, port in zip(PAGES, words[1:], strict=True))
    return replace(DOOR, port=int(words[0])), tuple(pages)


def serve(sandbox: Sandbox, first: Door, pages: tuple[Page, ...]) -> None:
    """Serve the first page and forward every API until Ctrl-C.

    Raises
    ------
    WorkbenchError
        When there is no sandbox, or one of the ports is taken: then nothing is served.
    """
    sandbox.command([])  # says so when there is no sandbox
    with contextlib.ExitStack() as stack:
        listeners = _listen((first, *pages), stack)
        stack.callback(door.serve(listeners[0], sandbox, pages).shutdown)
        say(f"open {first.url} in a browser: scores, reports, alerts, Argo CD's state")
        say("\nand these are APIs, here without web pages:")
        for page in pages:
            say(f"  {page.title:<14}{page.example}")
        say(f'\nuser admin of Argo CD; its password:\n  make -s shell <<< "{PASSWORD}"\nCtrl-C ends this')
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_forward(sandbox, dict(zip(pages, listeners[1:], strict=True))))


def _listen(pages: Sequence[Door | Page], stack: contextlib.ExitStack) -> list[socket.socket]:
    listeners, taken = [], []
    for page in pages:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, page.port))
            listener.listen()
        except OSError as error:
            taken.append(f"  port {page.port} for {page.title}: {error.strerror}")
        listeners.append(listener)
    if taken:
        raise WorkbenchError(
            "nothing is served, since other programs have these ports of 127.0.0.1:\n"
            + "\n".join(taken)
            + f"\nEnd those (`ss -ltnp` shows them), or choose: make ui {EXAMPLE}"
        )
    return listeners


async def _forward(sandbox: Sandbox, pages: dict[Page, socket.socket]) -> None:
    with contextlib.ExitStack() as stack:
        for page, listener in pages.items():
            server = await asyncio.start_server(PortForward(sandbox, page).serve, sock=listener)
            stack.callback(server.close)  # not awaited: open connections end with the loop
        await asyncio.Event().wait()


class PortForward:
    """Carries the connections of one page."""

    def __init__(self, sandbox: Sandbox, page: Page) -> None:
        self._sandbox, self._page = sandbox, page
        self._address: tuple[str, int] | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either end closes it."""
        with contextlib.closing(writer):
            try:
                inside = await asyncio.get_running_loop().run_in_executor(None, self._connect)
            except (OSError, WorkbenchError) as error:
                self._address = None  # a new pod has another address: ask again
                say(f"{self._page.title} cannot be reached: {error}")
                return
            there, back = await asyncio.open_connection(sock=inside)
            with contextlib.closing(back):
                await _both(reader, writer, there, back)

    def _connect(self) -> socket.socket:
        self._sandbox.command([])  # says so when the sandbox has ended meanwhile
        self._address = self._address or endpoint(self._sandbox, self._page)
        # Each connection gets a new thread: a thread that stays in the sandbox's network would keep it alive.
        with ThreadPoolExecutor(1) as inside:
            return inside.submit(_connect_inside, self._sandbox.pid(), self._address).result()


async def _both(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, there: asyncio.StreamReader, back: asyncio.StreamWriter
) -> None:
    """Copy in both directions until both have ended, or until one fails."""
    try:
        async with asyncio.TaskGroup() as ways:
            ways.create_task(_copy(reader, back))
            ways.create_task(_copy(there, writer))
    except* OSError:
        pass  # the caller closes both


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


def endpoint(sandbox: Sandbox, page: Page) -> tuple[str, int]:
    """Return address and port of a pod behind a page's Service; a headless Service has no address of its own.

    Raises
    ------
    WorkbenchError
        When no pod is ready.
    """
    words = ["-n", page.namespace, "get", "endpointslices", "-o", "json"]
    listed = json.loads(kubectl(sandbox, *words, f"--selector=kubernetes.io/service-name={page.service}"))
    for piece in listed["items"]:
        ports = [port["port"] for port in piece["ports"] if port["name"] == page.port_name]
        for each in piece["endpoints"] or []:
            if ports and each.get("conditions", {}).get("ready", True):
                return each["addresses"][0], ports[0]
    raise WorkbenchError(f"no pod of {page.namespace}/{page.service} is ready")


def _connect_inside(pid: int | None, address: tuple[str, int]) -> socket.socket:
    """Enter the network of a process with this very thread, and connect there."""
    with Path(f"/proc/{pid}/ns/net").open() as network:
        if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), 0x40000000) != 0:  # CLONE_NEWNET
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
    return socket.create_connection(address, timeout=10)
