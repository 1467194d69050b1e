"""What a failed `make up` leaves: one folder with all logs, events and objects, and the likely cause."""

import contextlib
import json
from pathlib import Path
from typing import Any, Final

from workbench.cluster.kubectl import kubectl
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import Runner, WorkbenchError

FILES: Final = {
    "events.txt": ("get", "events", "-A", "--sort-by=.lastTimestamp"),
    "objects.yaml": ("get", "pods,jobs,cronjobs,pvc,nodes", "-A", "-o", "yaml"),
    # A file of its own: before Argo CD there is no such kind.
    "applications.yaml": ("get", "applications.argoproj.io", "-A", "-o", "yaml"),
    "pods.txt": ("describe", "pods", "-A"),
}
WARNINGS: Final = ("get", "events", "-A", "--field-selector=type=Warning", "--sort-by=.lastTimestamp", "-o", "json")
LINES: Final = 5


def explained(sandbox: Sandbox, title: str, error: WorkbenchError) -> WorkbenchError:
    """Return the error of a stage with its likely causes and the folder with logs, events and objects."""
    logs = sandbox.paths.logs
    if not logs.exists():
        return error  # nothing was begun
    collect(sandbox, logs)
    return WorkbenchError(
        f"{title}: {error}{causes(sandbox)}"
        f"\nlogs, events and objects: {logs}\n`make up` goes on from here, `make down` removes everything"
    )


def causes(runner: Runner) -> str:
    """Return the likely causes of a failure as further lines of its message, or nothing if there is no sign of one."""
    ended = _ended(runner) if isinstance(runner, Sandbox) else []
    quoted = "".join(f"\n  {each}" for each in [*ended, *_warnings(runner)])
    return f"\nlikely cause:{quoted}" if quoted else ""


def collect(runner: Runner, folder: Path) -> None:
    """Write a cluster's events, objects and the logs of its pods into a folder, as far as it still answers."""
    for name, words in FILES.items():
        with contextlib.suppress(WorkbenchError):
            (folder / name).write_text(kubectl(runner, *words, "--request-timeout=20s"))
    with contextlib.suppress(WorkbenchError):
        # A folder for each sandbox, and in it one for each pod.
        kubectl(runner, "cluster-info", "dump", "-A", f"--output-directory={folder / 'pods'}", timeout=120)


def _ended(sandbox: Sandbox) -> list[str]:
    """Return the last output of every process that should run and does not."""
    found = []
    if sandbox.pid() is not None:
        for file in sorted(sandbox.paths.state.glob("*.pid")):
            if file.stem != "init" and not sandbox.alive(file.stem):
                log = sandbox.paths.logs / f"{file.stem}.log"
                last = log.read_text(errors="replace").splitlines()[-LINES:] if log.exists() else []
                found.append("\n    ".join([f"{file.stem} has ended:", *last]))
    return found


def _warnings(runner: Runner) -> list[str]:
    """Return the cluster's last warnings, each once."""
    try:
        events: list[dict[str, Any]] = json.loads(kubectl(runner, *WARNINGS, "--request-timeout=20s"))["items"]
    except (WorkbenchError, ValueError):
        return []
    said = [f"{each['involvedObject'].get('name')}: {each.get('reason')}: {each.get('message')}" for each in events]
    return list(dict.fromkeys(said))[-LINES:]
