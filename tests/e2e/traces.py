"""What a sandbox could leave on a machine, listed so that two moments can be compared."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from workbench.paths import Paths
from workbench.toolchain.tools import debian_root

FOLDERS = (
    *("/etc", "/opt", "/run", "/usr/local/bin", "/var/lib", "/var/log"),
    *("/root", "/root/.cache", "/root/.config", "/root/.local/share"),
)


@dataclass(frozen=True)
class Traces:
    """One moment: every field is a set of lines."""

    processes: frozenset[str]
    mounts: frozenset[str]
    interfaces: frozenset[str]
    firewall: frozenset[str]
    cgroups: frozenset[str]
    files: frozenset[str]


def snapshot(paths: Paths) -> Traces:
    """List the machine as it is now; of processes only those that name the sandbox, since others come and go."""
    return Traces(
        processes=frozenset(_processes(paths)),
        mounts=frozenset(line.split(" ", 2)[2] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        interfaces=frozenset(path.name for path in Path("/sys/class/net").iterdir()),
        firewall=frozenset(_firewall(paths)),
        cgroups=frozenset(_cgroups(paths)),
        files=frozenset(str(path) for folder in FOLDERS for path in Path(folder).glob("*"))
        | ({str(paths.state)} if paths.state.exists() else set()),
    )


def _cgroups(paths: Paths) -> list[str]:
    # Sandboxes of other clones come and go beside this one.
    found = (path for path in Path("/sys/fs/cgroup").glob("*/*") if path.is_dir())
    return [str(path) for path in found if paths.name in path.parts or "/vllm-eval-" not in str(path)]


def _processes(paths: Paths) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text() + (process / "cgroup").read_text()
        except OSError:
            continue  # it has just ended
        if paths.name in words:
            found.append(words.replace("\0", " "))
    return found


def _firewall(paths: Paths) -> list[str]:
    root = debian_root(paths) / "usr"
    rules = []
    for program in ("iptables-save", "ip6tables-save"):
        done = subprocess.run(
            [str(root / "sbin" / program)],
            env={
                "LD_LIBRARY_PATH": str(root / "lib/x86_64-linux-gnu"),
                "XTABLES_LIBDIR": str(root / "lib/x86_64-linux-gnu/xtables"),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        # Comments hold the time.
        rules += [line for line in done.stdout.splitlines() if not line.startswith("#")]
    return rules
