"""A headless Chromium for tests and pictures: the machine's own, or Debian's, unpacked into the cache.

Unpacked and not installed, as all of Debian's programs here: the machine stays as it was.
"""

import hashlib
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from workbench.paths import Paths
from workbench.shell import WorkbenchError, fail, run, say

# Noto has the Korean letters that answers and the guide have; DejaVu is for machines without any fonts.
PACKAGES: Final = ("chromium", "chromium-driver", "fonts-dejavu-core", "fonts-noto-cjk")
PROGRAMS: Final = {"chromium": "usr/lib/chromium/chromium", "chromedriver": "usr/bin/chromedriver"}
FONTS: Final = """<?xml version="1.0"?>
<fontconfig><dir>{folder}/usr/share/fonts</dir><dir>/usr/share/fonts</dir><cachedir>{folder}/fonts</cachedir></fontconfig>
"""
APT: Final = ("apt-get", "-qq", "-o", "APT::Sandbox::User=root")
CURE: Final = "install Chromium and its driver (`apt-get install chromium chromium-driver`), or name a Debian mirror"


def provide(paths: Paths) -> None:
    """Make `chromium` and `chromedriver` callable, by links in the cache where the machine has none.

    Raises
    ------
    WorkbenchError
        Debian's packages cannot be had.
    """
    if all(shutil.which(name) for name in PROGRAMS):
        return
    try:
        run([*APT, "update"])
        folder = _unpacked(_lacking(), paths)
    except WorkbenchError as error:
        raise WorkbenchError(f"{CURE}\n{error}") from error
    paths.bin.mkdir(parents=True, exist_ok=True)
    fonts = folder / "fonts.conf"
    fonts.write_text(FONTS.format(folder=folder))
    libraries = ":".join(map(str, [*folder.glob("usr/lib/*-gnu*"), *folder.glob("lib/*-gnu*")]))
    for name, program in PROGRAMS.items():
        starter = paths.bin / name
        starter.unlink(missing_ok=True)  # not to write through a link
        starter.write_text(
            f"#!/bin/sh\nexport LD_LIBRARY_PATH='{libraries}' FONTCONFIG_FILE='{fonts}'\n"
            f"exec '{folder / program}' \"$@\"\n"
        )
        starter.chmod(0o755)


def _lacking() -> list[str]:
    """Return the packages that an installation would fetch, each as `name=version`."""
    text = run([*APT, "--print-uris", "--no-install-recommends", "install", *PACKAGES])
    files = re.findall(r"^'[^']+' (\S+)_(\S+)_\w+\.deb ", text, re.MULTILINE)
    return sorted(f"{unquote(name)}={unquote(version)}" for name, version in files)


def _unpacked(packages: list[str], paths: Paths) -> Path:
    key = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12]
    folder = paths.cache / "tools" / f"chromium-{key}"
    if folder.exists():
        return folder
    started = time.monotonic()
    say(f"  fetching Chromium, {len(packages)} packages …")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        downloads, root = Path(scratch) / "downloads", Path(scratch) / "root"
        downloads.mkdir()
        root.mkdir()
        run([*APT, "download", *packages], cwd=downloads)
        for package in sorted(downloads.iterdir()):
            run(["dpkg", "-x", package, root])
        root.rename(folder)
    say(f"  fetched Chromium in {time.monotonic() - started:.0f} s")
    return folder


def main() -> int:
    """Provide it for this clone."""
    try:
        provide(Paths.of_this_clone())
    except WorkbenchError as error:
        return fail(error)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
