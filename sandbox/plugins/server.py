"""What both plugins share: how the engine starts a plugin, interrupts it, and is told of a fault."""

import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Final, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import status_pb2  # type: ignore[import-untyped]  # ships no types

# The engine's own limit; a chart's values or a dashboard exceed gRPC's 4 MiB.
MESSAGE_LIMIT: Final = 400 * 1024 * 1024

stopping: Final = threading.Event()
"""Set when the user has interrupted the update: what waits ends, and says how far it came."""

Service = TypeVar("Service")
Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class PluginError(Exception):
    """A fault that a user can meet; its text is shown as it is, its detail is for the engine."""

    detail: Message | None = None


def reported(
    method: Callable[[Service, Request, grpc.ServicerContext], Response],
) -> Callable[[Service, Request, grpc.ServicerContext], Response]:
    """Answer a call that raises :class:`PluginError` with the error's text."""

    @functools.wraps(method)
    def call(service: Service, request: Request, context: grpc.ServicerContext) -> Response:
        try:
            return method(service, request, context)
        except PluginError as error:
            if error.detail is not None:
                status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error))
                status.details.add().Pack(error.detail)
                context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
            raise AssertionError from error  # abort has raised

    return call


def wait(probe: Callable[[], object], seconds: float, interval: float = 0.25) -> str | None:
    """Call `probe` until it is true; return None, or how it ended when it never was: "within 30 s"."""
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            return f"within {seconds:.0f} s"
        if stopping.wait(interval):
            return "when the update was interrupted"
    return None


def serve(register: Callable[[grpc.Server], None]) -> None:
    """Serve on a free loopback port, print it, which is how the engine finds a plugin, and wait for its end."""
    engine = os.getppid()  # before the engine knows that it may go on, and so may end

    def leave(_signal: int, _frame: FrameType | None) -> None:
        # Not sys.exit: the engine has printed all there is to say, and threads may still wait.
        os._exit(0)

    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    limits = [("grpc.max_receive_message_length", MESSAGE_LIMIT), ("grpc.max_send_message_length", MESSAGE_LIMIT)]
    server = grpc.server(ThreadPoolExecutor(max_workers=32), options=limits)
    register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    # An engine that was killed sends no signal; true means that the time is over.
    while server.wait_for_termination(timeout=1):
        if os.getppid() != engine:
            os._exit(0)
