"""The language host: runs a project's `__main__.py` in this process, by the server that Pulumi's own SDK brings."""

import os
import runpy
import signal
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Final

import grpc
import pulumi
from google.protobuf.empty_pb2 import Empty
from grpc import ServicerContext as Context
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2 as proto
from pulumi.runtime.proto import language_pb2_grpc, plugin_pb2

# The engine's own limit; a chart's values or a dashboard exceed gRPC's 4 MiB.
MESSAGE_LIMIT: Final = 400 * 1024 * 1024


class Host(LanguageServer):
    """Pulumi's inline-program server, given a project's program; method names are the protocol's.

    Parameters
    ----------
    engine
        Address of the engine, `host:port`.
    """

    def __init__(self, engine: str) -> None:
        super().__init__(lambda: None)
        self._engine = engine

    def Handshake(self, request: proto.LanguageHandshakeRequest, context: Context) -> proto.LanguageHandshakeResponse:
        """Accept the engine."""
        return proto.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Empty, context: Context) -> plugin_pb2.PluginInfo:
        """Return the version of the SDK."""
        return plugin_pb2.PluginInfo(version=version("pulumi"))

    def GetProgramDependencies(
        self, request: proto.GetProgramDependenciesRequest, context: Context
    ) -> proto.GetProgramDependenciesResponse:
        """Return none: only `pulumi about` asks."""
        return proto.GetProgramDependenciesResponse()

    def RuntimeOptionsPrompts(
        self, request: proto.RuntimeOptionsRequest, context: Context
    ) -> proto.RuntimeOptionsResponse:
        """Return none: only `pulumi new` asks."""
        return proto.RuntimeOptionsResponse()

    def Run(self, request: proto.RunRequest, context: Context) -> proto.RunResponse:
        """Run the program once; what is wrong with it is logged once."""
        folder = Path(request.info.program_directory or request.pwd)
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        self.program = lambda: _run(folder)
        request.args.insert(0, self._engine)  # where the SDK's server looks for it
        result: proto.RunResponse = super().Run(request, context)  # type: ignore[no-untyped-call]  # as Pulumi ships it
        # The SDK has logged the error; the engine would print it a second time.
        return proto.RunResponse(bail=True) if result.error else result


def _run(folder: Path) -> None:
    """Run the program.

    Raises
    ------
    pulumi.RunError
        The program failed; the text is what a user should read.
    """
    try:
        runpy.run_path(str(folder / "__main__.py"), run_name="__main__")
    except pulumi.RunError:
        raise  # its text is already meant for the user
    except SystemExit as stop:
        if stop.code:
            text = stop.code if isinstance(stop.code, str) else f"the program ended with exit code {stop.code}"
            raise pulumi.RunError(text) from stop
    except Exception as error:
        frames = error.__traceback__
        while frames and frames.tb_next and not frames.tb_frame.f_code.co_filename.startswith(str(folder)):
            frames = frames.tb_next
        trace = "".join(traceback.format_exception(type(error), error, frames))
        raise pulumi.RunError(f"the program failed:\n{trace}") from error


def main() -> None:
    """Serve the engine whose address is the last argument until it ends.

    The server listens on a free loopback port and prints it, which is how the engine finds a plugin.
    """
    # Asked before the port is printed: until then the engine waits for this process, and so it is still the parent.
    engine = os.getppid()

    def leave(_signal: int, _frame: FrameType | None) -> None:
        # Not sys.exit, which would wait for the server's threads; the engine has printed everything already.
        os._exit(0)

    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    limits = [("grpc.max_receive_message_length", MESSAGE_LIMIT), ("grpc.max_send_message_length", MESSAGE_LIMIT)]
    server = grpc.server(ThreadPoolExecutor(max_workers=32), options=limits)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(Host(sys.argv[-1]), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    # A killed engine sends no signal, so look for it every second: the method returns true when its time is over.
    while server.wait_for_termination(timeout=1):
        if os.getppid() != engine:
            os._exit(0)


if __name__ == "__main__":
    main()
