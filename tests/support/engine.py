"""The real Pulumi engine with the sandbox's plugins, its state and home in a folder of the test's."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workbench.cluster import stack
from workbench.paths import Paths


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed on both streams."""

    code: int
    out: str


def environment(folder: Path, kubeconfig: Path | None) -> dict[str, str]:
    """Return an environment without the developer's own Pulumi and clusters; `folder`/state is the backend."""
    # The provider leaves a copy of the kubeconfig behind for each Helm release.
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    ours = {
        **stack.plugins(Paths.of_this_clone(), os.environ["PATH"]),
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_BACKEND_URL": f"file://{folder}/state",
        "PULUMI_CONFIG_PASSPHRASE": "test",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    if kubeconfig is not None:
        ours["KUBECONFIG"] = str(kubeconfig)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PULUMI_", "KUBECONFIG"))}
    return {**kept, **ours}


def descendants(ancestor: int) -> list[int]:
    """Return the ids of all processes that a process has started, and that these have."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [ancestor]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]


class Engine:
    """Runs commands in a folder and keeps all that they printed.

    Parameters
    ----------
    folder
        Where the program, its stack file, `state` and `home` are.
    kubeconfig
        The cluster; None for none.
    timeout
        Seconds that one command may take.
    """

    def __init__(self, folder: Path, kubeconfig: Path | None, *, timeout: float) -> None:
        self.folder = folder
        self.printed: list[str] = []
        self.environment = environment(folder, kubeconfig)
        self._timeout = timeout

    def run(self, command: Sequence[str], *, check: bool, stdin: str | None = None) -> Done:
        """Run one command; with `check` it must end well."""
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE if stdin is not None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            said, _ = process.communicate(stdin, timeout=self._timeout)
        except BaseException as error:
            # The provider does not end with an engine that is killed.
            for each in (*descendants(process.pid), process.pid):
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            said, _ = process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                late = f"{' '.join(command)} goes on after {self._timeout:.0f} s:\n{said}"
                raise AssertionError(late) from error  # noqa: TRY004 -- not about the error's type
            raise
        self.printed.append(said)
        assert not check or process.returncode == 0, said
        return Done(process.returncode, said)

    def text_of(self, *names: str) -> str:
        """Return the text of every file below the named folders."""
        files = [each for name in names for each in (self.folder / name).rglob("*") if each.is_file()]
        return "\n".join(each.read_text(errors="replace") for each in files)
