"""Builds Prometheus' own page, from the module that the sandbox compiles: `make prometheus-page`. Optional.

Its sources and their lock file are in the module; the packages come from the npm registry. The build takes five minutes
and 400 MB, and leaves 2 MB in the cache, from where `make ui` serves the page (docs/adr/front-ends.md).
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from workbench.paths import Paths
from workbench.shell import WorkbenchError, fail, run, say
from workbench.toolchain.tools import TOOLS, fresh

MODULE: Final = "github.com/prometheus/prometheus"
PNPM: Final = "pnpm@10.34.9"
PAGE: Final = "@prometheus-io/mantine-ui..."
NODE: Final = 20


def folder(paths: Paths) -> Path:
    """Return where the page is, once it was built for the Prometheus that is compiled."""
    line = re.search(rf"{re.escape(MODULE)} (\S+)", (TOOLS / "prometheus/go.mod").read_text(encoding="utf-8"))
    key = hashlib.sha256(line[0].encode() if line else b"").hexdigest()[:12]
    return paths.cache / "tools" / f"prometheus-page-{key}"


def build(paths: Paths) -> None:
    """Build it unless the cache has it.

    Raises
    ------
    WorkbenchError
        Node is missing or too old, or a package cannot be had.
    """
    target = folder(paths)
    if target.exists():
        return
    if shutil.which("npx") is None or int(run(["node", "--version"]).strip().lstrip("v").split(".")[0]) < NODE:
        raise WorkbenchError(f"Prometheus' page is built by Node {NODE} or later with npm (`npx`): install it")
    say("  building Prometheus' page, some five minutes …")
    listed = run(["go", "mod", "download", "-json", MODULE], cwd=TOOLS / "prometheus")
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch) / "ui"
        shutil.copytree(Path(json.loads(listed)["Dir"]) / "web/ui", work, copy_function=shutil.copyfile)
        for each in (work, *work.rglob("*")):  # Go's modules are read-only
            each.chmod(0o755)
        bin_folder = Path(scratch) / "bin"
        bin_folder.mkdir()
        pnpm = bin_folder / "pnpm"
        pnpm.write_text(f'#!/bin/sh\nexec npx --yes {PNPM} "$@"\n', encoding="utf-8")
        pnpm.chmod(0o755)
        env = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
        run(["pnpm", "install", "--frozen-lockfile", "--filter", PAGE], cwd=work, env=env, timeout=1200)
        run(["bash", "build_ui.sh", "--mantine-ui"], cwd=work, env=env, timeout=1200)
        with fresh(target) as made:
            shutil.copytree(work / "static/mantine-ui", made, dirs_exist_ok=True)


def main() -> int:
    """Build it for this clone."""
    try:
        build(Paths.of_this_clone())
    except WorkbenchError as error:
        return fail(error)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
