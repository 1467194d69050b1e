"""Argo CD's chart as a folder, a copy of it, and served over HTTP as a chart repository."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.serving import serving
from workbench.sandbox import chart
from workbench.toolchain import tools


@dataclass(frozen=True)
class ChartRepository:
    """Where the chart is; `newer` is the second version that is served."""

    folder: Path
    copy: Path
    port: int
    newer: str = "99.0.0"

    def url(self, name: str) -> str:
        """Return one of any number of addresses of the repository."""
        return f"http://127.0.0.1:{self.port}/{name}"


class _Files(SimpleHTTPRequestHandler):
    def translate_path(self, path: str) -> str:
        return super().translate_path(f"/{path.rsplit('/', 1)[-1]}")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def chart_repository(folder: Path) -> Iterator[ChartRepository]:
    """Make everything below `folder`, and serve it."""
    ours, served = chart.write(folder / "ours"), folder / "served"
    copy = folder / "copy" / "argo-cd"
    shutil.copytree(ours, copy)
    served.mkdir()
    for version in (tools.version("argocd"), ChartRepository.newer):
        command = ["helm", "package", str(ours), f"--version={version}", f"--destination={served}"]
        subprocess.run(command, check=True, capture_output=True)
    subprocess.run(["helm", "repo", "index", str(served)], check=True, capture_output=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(served)))
    with serving(server):
        yield ChartRepository(ours, copy, server.server_address[1])
