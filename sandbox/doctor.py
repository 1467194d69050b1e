"""What the machine must have, checked before anything is changed and reported all at once."""

import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from deploy import requests, stack
from deploy.layout import Layout
from deploy.shell import SandboxError
from deploy.tools import go_version
from sandbox.namespace import CGROUPS

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
FREE_BYTES: Final = 12 * 10**9
# What kubelet demands of cgroup v2.
CONTROLLERS: Final = {"cpu", "cpuset", "memory", "pids"}


def problems(layout: Layout) -> list[str]:
    """Return one sentence with its cure for every prerequisite that this machine lacks."""
    found = []
    if os.geteuid() != 0:
        found.append("this user is not root: namespaces and mounts need it; run `sudo make up`")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        found.append(f"this is {platform.system()} on {platform.machine()}: the sandbox runs on Linux x86_64 only")
    found += [f"there is no `{name}`: {cure}" for name, cure in PROGRAMS.items() if shutil.which(name) is None]
    if go_version() is None:
        found.append("there is no `go`: install Go 1.24 or newer, and put its bin folder on PATH")
    if not Path("/dev/net/tun").exists():
        found.append("there is no /dev/net/tun: `modprobe tun`, or give this container the device")
    found += _missing_cgroups()
    folder = next(path for path in (layout.cache, *layout.cache.parents) if path.exists())
    if (free := shutil.disk_usage(folder).free) < FREE_BYTES:
        found.append(
            f"{folder} has {free / 1e9:.1f} GB free, the sandbox needs {FREE_BYTES / 1e9:.0f}: "
            "free some, or set VLLM_EVAL_CACHE to a folder on another disk"
        )
    if layout.cache.resolve().is_relative_to("/etc") or str(layout.cache.resolve()).startswith(
        ("/var/", "/run/", "/usr/")
    ):
        found.append(f"the cache {layout.cache} lies under a folder that the sandbox overlays: set VLLM_EVAL_CACHE")
    return found


def check(layout: Layout, environment: Mapping[str, str]) -> None:
    """Raise one error that lists every missing prerequisite, and everything in the request that cannot be met."""
    found = problems(layout)
    try:
        requests.check(environment)
        stack.check(stack.LOCAL, requests.settings(environment))
    except SandboxError as error:
        found.append(str(error))
    if found:
        raise SandboxError("the sandbox cannot run here:\n" + "\n".join(f"  - {each}" for each in found))


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
            f"{CGROUPS} keeps these cgroups to itself: {names}; echo '{words}' > {CGROUPS}/cgroup.subtree_control"
            " (in a container, first move its processes to a child group)"
        )
