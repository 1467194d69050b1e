"""Stand-in for `pulumi-language-python`: runs a project's `__main__.py` in this process."""

import os
import runpy
import sys
from pathlib import Path
from typing import Any

import grpc
import pulumi
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from sandbox.plugins.server import serve

# The engine's "the program has told the user already" (official host: exit code 32).
ALREADY_REPORTED = language_pb2.RunResponse(bail=True)


class Host(LanguageServer):
    """Pulumi's inline-program server, given the project's program."""

    def __init__(self, engine: str) -> None:
        super().__init__(lambda: None)
        self._engine = engine

    def Handshake(self, request: Any, context: Any) -> Any:
        """Accept the engine."""
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        """Say which version of the SDK runs."""
        return plugin_pb2.PluginInfo(version=_sdk_version())

    def GetProgramDependencies(self, request: Any, context: Any) -> Any:
        """Report none: only `pulumi about` asks."""
        return language_pb2.GetProgramDependenciesResponse()

    def RuntimeOptionsPrompts(self, request: Any, context: Any) -> Any:
        """Report none: only `pulumi new` asks."""
        return language_pb2.RuntimeOptionsResponse()

    def Run(self, request: Any, context: Any) -> Any:
        """Run the program; its exit by `SystemExit` means that it has printed why."""
        folder = Path(request.info.program_directory or request.pwd)
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        stopped: list[SystemExit] = []

        def program() -> None:
            try:
                runpy.run_path(str(folder / "__main__.py"), run_name="__main__")
            except SystemExit as stop:
                if stop.code:
                    stopped.append(stop)
                    raise pulumi.RunError("the program stopped") from stop

        self.program = program
        request.args.insert(0, self._engine)
        result: Any = super().Run(request, context)  # type: ignore[no-untyped-call]  # as Pulumi ships it
        return ALREADY_REPORTED if stopped else result


def _sdk_version() -> str:
    from importlib.metadata import version

    return version("pulumi")


def main() -> None:
    """Start the plugin; the engine's address is the last argument."""

    def register(server: grpc.Server) -> None:
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(Host(sys.argv[-1]), server)

    serve(register)


if __name__ == "__main__":
    main()
