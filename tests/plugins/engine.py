"""The real Pulumi engine on a small program, with the stand-in plugins, in a folder of its own."""

import json
import signal
import subprocess
import textwrap
import time
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.engine import Done, Engine

CANARY: Final = "c4n4ry-9b1e"
"""What no output and no state may show."""

PROLOGUE: Final = """
import pulumi
import pulumi_kubernetes as k8s

provider = k8s.Provider("cluster", {options})
opts = pulumi.ResourceOptions(provider=provider)
"""


class Stack(Engine):
    """One stack in a backend of its own."""

    def __init__(self, folder: Path, kubeconfig: Path) -> None:
        super().__init__(folder, kubeconfig, timeout=120)

    def create(self) -> None:
        """Create the stack; its folder may be copied."""
        (self.folder / "state").mkdir()
        (self.folder / "Pulumi.yaml").write_text(yaml.safe_dump({"name": "small", "runtime": {"name": "python"}}))
        self.pulumi("stack", "init", "test")
        self.pulumi("config", "set", "--secret", "canary", CANARY)

    def program(self, body: str, *, options: str = "") -> None:
        """Write the program: `body` after a provider `provider` with `options`, and `opts` that name it."""
        text = PROLOGUE.format(options=options) + textwrap.dedent(body)
        (self.folder / "__main__.py").write_text(text)

    def up(self, *words: str, check: bool = True) -> Done:
        return self.pulumi("up", "--yes", "--skip-preview", *words, check=check)

    def interrupted_up(self, mark: str, *, pause: float = 0.0, within: float) -> str:
        """Press Ctrl-C in an update, `pause` seconds after a line with `mark`; return what it says until its end."""
        process = subprocess.Popen(
            self.command("up", "--yes", "--skip-preview"),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout
        for line in process.stdout:
            if mark in line:
                break
        time.sleep(pause)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=within)
        return rest

    def destroy(self, *, check: bool = True) -> Done:
        return self.pulumi("destroy", "--yes", "--skip-preview", check=check)

    def refresh(self, *words: str, check: bool = True) -> Done:
        return self.pulumi("refresh", "--yes", "--skip-preview", *words, check=check)

    def steps(self, *words: str) -> dict[str, str]:
        """Return what a preview would do to the cluster: operation by the resource's name."""
        done = self.pulumi("preview", "--json", *words)
        steps = json.loads(done.out[done.out.index("{\n") :])["steps"]
        changed = [each for each in steps if each["op"] != "same" and "::kubernetes:" in each["urn"]]
        return {each["urn"].rsplit("::", 1)[1]: each["op"] for each in changed}

    def resources(self) -> dict[str, dict[str, Any]]:
        """Return the state's resources by name."""
        exported = json.loads(self.pulumi("stack", "export").out)["deployment"].get("resources", [])
        return {each["urn"].rsplit("::", 1)[1]: each for each in exported}

    def state(self) -> str:
        """Return the text of everything in the backend and in Pulumi's home."""
        return self.text_of("state", "home")

    def command(self, *words: str) -> list[str]:
        return ["pulumi", "--non-interactive", "--color=never", "--stack=test", *words]

    def pulumi(self, *words: str, check: bool = True) -> Done:
        command = self.command(*words) if words[:2] != ("stack", "init") else ["pulumi", "--non-interactive", *words]
        return self.run(command, check=check)
