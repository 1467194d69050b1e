"""Builds the pinned tools once and fetches Debian's programs, into the cache.

Every folder of `modules/` is one Go module. Its go.mod names the tool and pins it, its go.sum is the lock. `build.toml`
adds the module that gives the tool its version, build tags, linker flags, the names by which a binary of several
programs is called, and whether it is a plugin of Pulumi. `libraries` gives all tools the same versions of what they
share. A finished tool appears in the cache under a key of all of these by one rename, so that an interrupted build
leaves nothing that looks like a tool.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from workbench.paths import REPOSITORY, Paths
from workbench.shell import WorkbenchError, run, say
from workbench.toolchain import whole
from workbench.toolchain.progress import SHARES, BuildProgress

TOOLS: Final = REPOSITORY / "workbench/toolchain/modules"

# Programs and the libraries that a minimal Debian lacks for them. They are
# unpacked, not installed: their packages would start services on this machine.
DEBIAN_PACKAGES: Final = [
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "debootstrap",
    "etcd-server",
    "ipset",
    "iptables",
    "libglib2.0-0",
    "libip4tc2",
    "libip6tc2",
    "libipset13",
    "libjansson4",
    "libmnl0",
    "libnetfilter-conntrack3",
    "libnfnetlink0",
    "libnftables1",
    "libnftnl11",
    "libpcre2-8-0",
    "libseccomp2",
    "libslirp0",
    "libxtables12",
    "prometheus-alertmanager",
    "prometheus-pushgateway",
    "runc",
    "slirp4netns",
]

# Debian's alternatives system makes these links at installation.
ALTERNATIVES: Final = {
    f"usr/sbin/{prefix}tables{suffix}": "xtables-nft-multi"
    for prefix in ("ip", "ip6")
    for suffix in ("", "-save", "-restore")
}

# What tests and people call by name. The rest of Debian's programs run only inside the sandbox.
LINKED: Final = ("etcd", "prometheus-pushgateway", "prometheus-alertmanager", "amtool")


# What `make check` needs: each builds in seconds, on macOS too. The first check of a clone makes these alone.
SMALL: Final = ("actionlint", "crane", "dashboard-schema", "kustomize", "yq")
# What linters and tests alone need.
NOT_OF_UP: Final = ("actionlint", "dashboard-schema")


def build_all(paths: Paths, names: Iterable[str] | None = None) -> None:
    """Make tools available in `paths.bin`: those of the names, or every one and Debian's programs.

    Raises
    ------
    WorkbenchError
        Names the tool whose build or download failed and the log.
    """
    _build(paths, every() if names is None else names, debian=names is None)


def build_for_up(paths: Paths) -> None:
    """Make available what `make up` needs, Debian's programs included; see `build_all`."""
    _build(paths, of_up(), debian=True)


def every() -> set[str]:
    """Return the names of all tools."""
    return {path.parent.name for path in TOOLS.glob("*/go.mod")}


def of_up() -> set[str]:
    """Return the names of the tools that `make up` needs."""
    return every() - set(NOT_OF_UP)


def _build(paths: Paths, names: Iterable[str], *, debian: bool) -> None:
    wanted = sorted(names, key=lambda name: (-SHARES.get(name, 1), name))
    progress = BuildProgress([name for name in wanted if not _folder(name, paths).exists()])
    # Two at once: compiling fills both cores, but each link keeps one idle.
    with ThreadPoolExecutor(max_workers=2) as pool:
        jobs = [pool.submit(unpack_debian, paths)] if debian else []
        jobs += [pool.submit(build, name, paths, progress) for name in wanted]
        try:
            for future in jobs:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def build(name: str, paths: Paths, progress: BuildProgress | None = None) -> Path:
    """Build one tool unless the cache has it; return its folder."""
    source = TOOLS / name
    options = _options(source)
    folder = _folder(name, paths)
    drop_if_damaged(folder)
    if not folder.exists():
        started = time.monotonic()
        say(f"  building {name} …")
        with fresh(folder) as scratch:
            _go_build(name, source, options, scratch, paths)
        left = progress.built(name) if progress else ""
        say(f"  built {name} in {time.monotonic() - started:.0f} s{left}")
    for binary in folder.iterdir():
        _link((paths.plugins if options.get("plugin") else paths.bin) / binary.name, binary)
        for alias in options.get("links", []):
            _link(paths.bin / alias, binary)
    return folder


def complete(paths: Paths) -> bool:
    """Tell whether the cache has every tool of `make up`."""
    return all(_folder(name, paths).exists() for name in of_up())


def version(name: str) -> str:
    """Return a tool's version without the v: that of `build.toml`, or of the module that it names, in go.mod."""
    options = _options(TOOLS / name)
    return options.get("version") or _pinned(TOOLS / name, options["module"])


def module_source(name: str) -> Path:
    """Return the source folder of the Go module that `modules/<name>/build.toml` names."""
    module = _options(TOOLS / name)["module"]
    listed = run(["go", "mod", "download", "-json", module], cwd=TOOLS / name, env=go_env())
    return Path(json.loads(listed)["Dir"])


def debian_root(paths: Paths) -> Path:
    """Return the folder that Debian's packages are unpacked in, laid out like `/`."""
    key = hashlib.sha256(" ".join(DEBIAN_PACKAGES).encode()).hexdigest()[:12]
    return paths.cache / "tools" / f"debian-{key}"


def unpack_debian(paths: Paths) -> Path:
    """Download and unpack the Debian packages unless the cache has them."""
    folder = debian_root(paths)
    drop_if_damaged(folder)
    if not folder.exists():
        started = time.monotonic()
        say("  fetching Debian's programs …")
        with fresh(folder) as scratch:
            fetch_debian(DEBIAN_PACKAGES, scratch, paths)
            for link, target in ALTERNATIVES.items():
                (scratch / link).symlink_to(target)
        say(f"  fetched Debian's programs in {time.monotonic() - started:.0f} s")
    for name in LINKED:
        _link(paths.bin / name, folder / "usr/bin" / name)
    return folder


def drop_if_damaged(folder: Path) -> None:
    """Remove a folder of the cache that is not as it was made, as a power failure leaves it: it is made anew."""
    if folder.exists() and (damaged := whole.damaged(folder, _sums(folder))):
        say(f"  {damaged} in the cache is damaged: {folder.name} is removed and made anew")
        shutil.rmtree(folder)
        _sums(folder).unlink()


def _sums(folder: Path) -> Path:
    return folder.parents[1] / "sums" / f"{folder.name}.json"


def _as_named_here(packages: Iterable[str]) -> list[str]:
    """Return their names in this machine's lists: Debian 13 and Ubuntu 24.04 renamed libraries with 64-bit times."""
    known = set(run(["apt-cache", "pkgnames"]).split())
    return [f"{each}t64" if f"{each}t64" in known else each for each in packages]


def fetch_debian(packages: Iterable[str], scratch: Path, paths: Paths) -> None:
    """Download Debian's packages and unpack them into a folder.

    Raises
    ------
    WorkbenchError
        Names the address that refused, and the cure.
    """
    downloads = scratch / "downloads"
    downloads.mkdir(parents=True)
    # The sandbox user of apt may not enter this folder; without the option it warns for each file.
    apt = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root"]
    updated, downloaded = paths.logs / "debian-update.log", paths.logs / "debian-download.log"
    try:
        run([*apt, "update"], log=updated)
        run([*apt, "download", *_as_named_here(packages)], cwd=downloads, log=downloaded)
    except WorkbenchError as error:
        # A refused list is only a warning of the update, and a package not found of the download.
        text = f"{error}\n{updated.read_text() if updated.exists() else ''}"
        raise WorkbenchError(_told("Debian's programs could not be fetched", text, _APT_CURE)) from error
    for package in sorted(downloads.iterdir()):
        run(["dpkg", "-x", package, scratch])
    shutil.rmtree(downloads)


def _go_build(name: str, source: Path, options: dict[str, Any], scratch: Path, paths: Paths) -> None:
    ours = (source / "main.go").exists()
    ldflags = f"-s -w {options.get('ldflags', '')}".strip()
    if "{version}" in ldflags:
        ldflags = ldflags.replace("{version}", version(name))
    flags = ["-trimpath", "-buildvcs=false", f"-tags={options.get('tags', '')}", f"-ldflags={ldflags}"]
    # A killed `make tools` cannot stop its child. setpriv lets the kernel do it, where there is one: on Linux.
    dies = ["setpriv", "--pdeathsig=KILL"] if shutil.which("setpriv") else []
    command = [*dies, "go", "build", *flags, "-o", f"{scratch}/"]
    log = paths.logs / f"build-{name}.log"
    try:
        run([*command, "." if ours else "tool"], cwd=source, env=go_env(), log=log, timeout=3600)
    except WorkbenchError as error:
        raise WorkbenchError(_told(f"the tool {name} could not be built", str(error), _GO_CURE)) from error


_GO_CURE: Final = (
    "Set GOPROXY to a Go module proxy that this machine may use (`go env -w GOPROXY=…`),"
    " or HTTPS_PROXY if it needs a proxy to go out"
)
_APT_CURE: Final = (
    "Name a Debian mirror that this machine may use in /etc/apt/sources.list, or a proxy in /etc/apt/apt.conf"
)
_REFUSAL: Final = re.compile(r'(?:reading|Get|Failed to fetch) "?(https?://)(?:[^/@\s]*@)?([^\s"]+?)"?:?\s+(\S.*)')


def _told(what: str, text: str, cure: str) -> str:
    """Return an error text that begins with the address that refused a download, its credentials left out."""
    if refusal := _REFUSAL.search(text):
        scheme, address, reason = refusal.groups()
        return f"{what}: {scheme}{address} answers: {reason}\n{cure}.\n{text}"
    return f"{what}\n{text}"


def go_env() -> dict[str, str]:
    """Return the environment of every `go`: without the caller's flags, and with the Go that a module asks for."""
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        # A module may ask for a newer Go than the machine's; the proxy serves it as a module.
        "GOTOOLCHAIN": "auto",
        "GOFLAGS": "",
        # Garbage collection takes a quarter of the compiler's time, and its memory is freed anyway when it ends.
        "GOGC": "400",
        "GOMEMLIMIT": "3GiB",
    }


def _folder(name: str, paths: Paths) -> Path:
    return paths.cache / "tools" / f"{name}-{_key(TOOLS / name)}"


def _options(source: Path) -> dict[str, Any]:
    file = source / "build.toml"
    return tomllib.loads(file.read_text()) if file.exists() else {}


def _pinned(source: Path, module: str) -> str:
    found = re.search(rf"\s{re.escape(module)} v(\S+)", (source / "go.mod").read_text())
    if not found:
        raise WorkbenchError(f"{source / 'go.mod'} does not require {module}, which build.toml names as its module")
    return found[1]


def _key(source: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(source.iterdir()):
        digest.update(f"{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


@contextmanager
def fresh(folder: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `folder` that becomes it only if all went well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    scratch = Path(tempfile.mkdtemp(prefix=f".unfinished-{os.getpid()}-", dir=folder.parent))
    scratch.chmod(0o755)
    try:
        yield scratch
        whole.record(scratch, _sums(folder))
        os.sync()  # or a power failure after the rename leaves a tool without its content
        scratch.rename(folder)
    except OSError:
        # Another clone was faster: its result has the same key, hence the same content.
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what builds that were killed left behind; those of living processes stay."""
    for left in folder.glob(".unfinished-*"):
        if not _alive(int(left.name.split("-")[1])):
            shutil.rmtree(left, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


_link_lock = threading.Lock()


def _link(link: Path, target: Path) -> None:
    with _link_lock:
        link.parent.mkdir(parents=True, exist_ok=True)
        fresh = link.with_name(f".{link.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target)
        fresh.replace(link)
