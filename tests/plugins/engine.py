"""The real Pulumi engine on a small program, with the stand-in plugins, in a folder of its own."""

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

PLUGINS: Final = Path(__file__).resolve().parents[2] / "sandbox" / "plugins"
CANARY: Final = "c4n4ry-9b1e"
"""What no output and no state may show."""

PROLOGUE: Final = """
import pulumi
import pulumi_kubernetes as k8s

provider = k8s.Provider("cluster", {options})
opts = pulumi.ResourceOptions(provider=provider)
"""


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed on both streams."""

    code: int
    out: str


class Stack:
    """One stack in a backend of its own."""

    def __init__(self, folder: Path, kubeconfig: Path) -> None:
        self.folder = folder
        self.printed: list[str] = []
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PULUMI_")},
            "PATH": f"{PLUGINS}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "KUBECONFIG": str(kubeconfig),
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{folder}/state",
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "VLLM_EVAL_PYTHON": sys.executable,
        }

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
        files = [each for where in ("state", "home") for each in (self.folder / where).rglob("*") if each.is_file()]
        return "\n".join(each.read_text(errors="replace") for each in files)

    def command(self, *words: str) -> list[str]:
        return ["pulumi", "--non-interactive", "--color=never", "--stack=test", *words]

    def pulumi(self, *words: str, check: bool = True) -> Done:
        command = self.command(*words) if words[:2] != ("stack", "init") else ["pulumi", "--non-interactive", *words]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        self.printed.append(done.stdout)
        assert not check or done.returncode == 0, done.stdout
        return Done(done.returncode, done.stdout)
