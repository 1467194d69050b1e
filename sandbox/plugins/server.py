"""What both plugins share: the engine's way of starting a plugin."""

import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import grpc

# The engine's own limit; a chart's values or a dashboard exceed gRPC's 4 MiB.
MESSAGE_LIMIT = 400 * 1024 * 1024


def serve(register: Callable[[grpc.Server], None]) -> None:
    """Serve on a free loopback port, print it (how the engine finds a plugin), and wait for a signal."""

    def quit_quietly(_signal: int, _frame: FrameType | None) -> None:
        # Not sys.exit: an interrupted engine has printed all there is to say, and threads may still wait.
        os._exit(0)

    signal.signal(signal.SIGINT, quit_quietly)
    signal.signal(signal.SIGTERM, quit_quietly)
    limits = [("grpc.max_receive_message_length", MESSAGE_LIMIT), ("grpc.max_send_message_length", MESSAGE_LIMIT)]
    server = grpc.server(ThreadPoolExecutor(max_workers=16), options=limits)
    register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    engine = os.getppid()
    # wait_for_termination returns true when the time is over: a killed engine sends no signal.
    while server.wait_for_termination(timeout=1):
        if os.getppid() != engine:
            os._exit(0)
