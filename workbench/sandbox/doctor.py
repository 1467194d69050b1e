"""What the machine must have, checked before anything is changed and reported all at once."""

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from workbench.cluster import requests, stack
from workbench.cluster.requests import DeployRequest
from workbench.paths import Paths
from workbench.sandbox import model
from workbench.sandbox.namespaces import CGROUPS
from workbench.sandbox.stack import NAME
from workbench.shell import WorkbenchError
from workbench.toolchain import tools

PROGRAMS: Final = {
    "apt-get": "the sandbox unpacks Debian packages: use Debian 12",
    "dpkg": "the sandbox unpacks Debian packages: use Debian 12",
    "git": "apt-get install git",
    "ip": "apt-get install iproute2",
    "nsenter": "apt-get install util-linux",
    "openssl": "apt-get install openssl",
    "setpriv": "apt-get install util-linux",
    "unshare": "apt-get install util-linux",
}
# Bytes that the first `make up` needs in each folder, with a margin; the part for images; what each later one needs.
FIRST_BYTES: Final = {"VLLM_EVAL_CACHE": 8 * 10**9, "GOCACHE": 12 * 10**9, "GOMODCACHE": 5 * 10**9}
IMAGES_BYTES: Final = {"VLLM_EVAL_CACHE": 6 * 10**9}
LATER_BYTES: Final = {"VLLM_EVAL_CACHE": 2 * 10**9}
GO_CACHES: Final = ("GOCACHE", "GOMODCACHE")
OLDEST_GO: Final = (1, 21)  # the first that fetches the newer one that a module asks for
# What kubelet demands of cgroup v2.
CONTROLLERS: Final = {"cpu", "cpuset", "memory", "pids"}


def problems(paths: Paths) -> list[str]:
    """Return one sentence with its cure for every prerequisite that this machine lacks."""
    found = []
    if os.geteuid() != 0:
        found.append("this user is not root: namespaces and mounts need it; run `sudo make up`")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        found.append(f"this is {platform.system()} on {platform.machine()}: the sandbox runs on Linux x86_64 only")
    found += [f"there is no `{name}`: {cure}" for name, cure in PROGRAMS.items() if shutil.which(name) is None]
    go = _go_env()
    if not go:
        found.append("there is no `go`: install Go 1.21 or newer, and put its bin folder on PATH")
    elif (release := _release(go["GOVERSION"])) and release < OLDEST_GO:
        found.append(f"`go` is {go['GOVERSION']}: install Go 1.21 or newer, and put its bin folder first on PATH")
    if not Path("/dev/net/tun").exists():
        found.append("there is no /dev/net/tun: `modprobe tun`, or give this container the device")
    found += _missing_cgroups()
    found += _full_disks(paths, go)
    if paths.cache.resolve().is_relative_to("/etc") or str(paths.cache.resolve()).startswith(
        ("/var/", "/run/", "/usr/")
    ):
        found.append(f"the cache {paths.cache} lies under a folder that the sandbox overlays: set VLLM_EVAL_CACHE")
    return found


def check(paths: Paths, request: DeployRequest, server: str = "") -> None:
    """Raise one error that lists every missing prerequisite, and everything in the request that cannot be met."""
    found = problems(paths)
    found += model.lacks(paths, server)
    try:
        model.check(server, request)
        requests.check(request)
        stack.check(NAME, requests.settings(request))
    except WorkbenchError as error:
        found.append(str(error))
    if found:
        raise WorkbenchError("the sandbox cannot run here:\n" + "\n".join(f"  - {each}" for each in found))


def _full_disks(paths: Paths, go: Mapping[str, str]) -> Iterator[str]:
    folders = {name: _existing(Path(go[name])) for name in GO_CACHES if name in go}
    folders["VLLM_EVAL_CACHE"] = _existing(paths.cache)
    needed = FIRST_BYTES
    if tools.complete(paths):
        needed = LATER_BYTES if (paths.cache / "images/registry").exists() else IMAGES_BYTES
    disks: dict[int, list[str]] = {}
    for name in [each for each in needed if each in folders]:
        disks.setdefault(folders[name].stat().st_dev, []).append(name)
    for names in disks.values():
        folder, needs = folders[names[0]], sum(needed[name] for name in names)
        if (free := shutil.disk_usage(folder).free) < needs:
            yield (
                f"{folder} has {free / 1e9:.1f} GB free, the sandbox needs {needs / 1e9:.0f}: "
                f"free some, or set {' or '.join(names)} to a folder on another disk"
            )


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _go_env() -> dict[str, str]:
    """Return the machine's Go version and the folders of Go's caches, nothing without Go."""
    try:
        done = subprocess.run(
            ["go", "env", "-json", "GOVERSION", *GO_CACHES], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return {}
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _release(version: str) -> tuple[int, ...]:
    """Return a Go release's numbers, none of a development version."""
    found = re.match(r"go(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else ()


def _missing_cgroups() -> Iterator[str]:
    if not (CGROUPS / "cgroup.controllers").exists():
        if not (CGROUPS / "memory").exists():
            yield "there is no memory cgroup: boot with `cgroup_enable=memory`"
        return
    there, passed_on = (
        set((CGROUPS / f"cgroup.{name}").read_text().split()) for name in ("controllers", "subtree_control")
    )
    if absent := CONTROLLERS - there:
        yield f"there is no {', no '.join(sorted(absent))} cgroup: boot with it, or let this container have it"
    elif kept := CONTROLLERS - passed_on:
        words, names = " ".join(f"+{each}" for each in sorted(kept)), ", ".join(sorted(kept))
        yield (
            f"{CGROUPS} gives its children no controllers {names}: echo '{words}' > {CGROUPS}/cgroup.subtree_control"
            " (in a container, first move its processes to a child group)"
        )
