"""Ends a sandbox and removes its caches. Needs no package: the virtual environment may be incomplete or missing."""

import contextlib
import fcntl
import os
import shutil
import signal
from typing import IO, Final

from workbench.paths import Paths
from workbench.sandbox.namespaces import LOCK, Sandbox
from workbench.shell import WorkbenchError, say, wait_for

# An interrupted `make up` ends within this time, or is killed.
PATIENCE: Final = 20.0


def down(paths: Paths) -> None:
    """End the sandbox. A `make up` that is still running on it is ended first."""
    _end_up(paths)
    Sandbox(paths).stop()
    say("the sandbox is gone; tools, packages and images stay in the cache (`make clean` removes them)")


def clean(paths: Paths) -> None:
    """Remove the caches; the sandbox must be down."""
    others = [path.name for path in (paths.cache / "sandboxes").glob("*") if path != paths.state]
    if others:
        raise WorkbenchError(f"sandboxes of other clones use the cache: {', '.join(others)}; `make down` them first")
    shutil.rmtree(paths.cache, ignore_errors=True)
    say("the cache is gone; Go's own are yours: `go clean -cache -modcache` removes them")


def _end_up(paths: Paths) -> None:
    if not (paths.state / LOCK).exists():
        return
    with (paths.state / LOCK).open() as file:
        if _free(file):
            return
        pid = int(wait_for("its number", (paths.state / LOCK).read_text, seconds=5))
        for kind in (signal.SIGINT, signal.SIGKILL):
            say(f"ending the `make up` at work, process {pid}")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, kind)
            with contextlib.suppress(WorkbenchError):
                wait_for("its end", lambda: _free(file), seconds=PATIENCE, interval=0.1)
                return
    raise WorkbenchError(f"process {pid}, a `make up`, does not end: end it, then `make down` again")


def _free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


COMMANDS: Final = {"down": down, "clean": clean}
