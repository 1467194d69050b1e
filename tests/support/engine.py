"""The real Pulumi engine with the sandbox's plugins, its state and home in a folder of the test's."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy import stack
from deploy.layout import Layout


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed on both streams."""

    code: int
    out: str


def environment(folder: Path, kubeconfig: Path | None) -> dict[str, str]:
    """Return an environment without the developer's own Pulumi and clusters; `folder`/state is the backend."""
    ours = {
        **stack.plugins(Layout.of_this_clone(), os.environ["PATH"]),
        "HOME": str(folder),
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_BACKEND_URL": f"file://{folder}/state",
        "PULUMI_CONFIG_PASSPHRASE": "test",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    if kubeconfig is not None:
        ours["KUBECONFIG"] = str(kubeconfig)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PULUMI_", "KUBECONFIG"))}
    return {**kept, **ours}


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
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=self.environment,
                input=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=self._timeout,
            )
        except subprocess.TimeoutExpired as error:
            said = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else error.stdout
            raise AssertionError(f"{' '.join(command)} goes on after {self._timeout:.0f} s:\n{said}") from error
        self.printed.append(done.stdout)
        assert not check or done.returncode == 0, done.stdout
        return Done(done.returncode, done.stdout)

    def text_of(self, *names: str) -> str:
        """Return the text of every file below the named folders."""
        files = [each for name in names for each in (self.folder / name).rglob("*") if each.is_file()]
        return "\n".join(each.read_text(errors="replace") for each in files)
