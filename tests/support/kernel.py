"""What the kernel lets a test do here: tried, not guessed from the user, since a container's root may do little."""

import os
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

import pytest

NO_NAMESPACES: Final = "no namespaces, mounts or cgroups can be made here: that needs root, in a container --privileged"
NO_MOUNTS: Final = "no file system can be mounted here: that needs root or user namespaces"

# The namespaces that the sandbox is made of, and what it mounts in them.
UNSHARE: Final = ("unshare", "--net", "--mount", "--cgroup", "--pid", "--fork", "--kill-child", "--mount-proc")
MOUNTS: Final = "mount -t tmpfs tmpfs /mnt; mkdir /mnt/1 /mnt/2; mount -t overlay -o lowerdir=/mnt/1:/mnt/2 none /mnt"


def own_mounts() -> list[str]:
    """Return the words before a command that may mount: for others than root, with a user namespace around it."""
    return ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]


@cache
def can_mount() -> bool:
    """Tell whether `own_mounts` works."""
    return _works([*own_mounts(), "sh", "-ec", MOUNTS])


@cache
def can_unshare() -> bool:
    """Tell whether namespaces and cgroups like the sandbox's can be made."""
    return _works([*UNSHARE, "sh", "-ec", MOUNTS]) and all(_has_groups(each) for each in _hierarchies())


def _works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0
    except OSError:
        return False  # a machine without `unshare`


def _hierarchies() -> list[Path]:
    """Return where version 1 is mounted, or version 2 where there is no other."""
    mounted = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    kinds = {kind: [Path(path) for _, path, each, *_ in mounted if each == kind] for kind in ("cgroup", "cgroup2")}
    return kinds["cgroup"] or kinds["cgroup2"] or [Path("/nowhere")]


def _has_groups(hierarchy: Path) -> bool:
    group = hierarchy / f"vllm-eval-probe-{os.getpid()}"
    with suppress(OSError):
        group.mkdir()
        group.rmdir()
        return True
    return False


needs_namespaces = pytest.mark.skipif(not can_unshare(), reason=NO_NAMESPACES)
needs_mounts = pytest.mark.skipif(not can_mount(), reason=NO_MOUNTS)
