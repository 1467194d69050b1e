"""Real namespaces for the tests, without a cluster in them."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.kernel import NO_NAMESPACES, can_unshare
from workbench.paths import Paths, cache_dir
from workbench.sandbox.namespaces import Sandbox

Program = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def roomy_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have room for a first `make up`, whatever this machine has: what is told of full disks is in test_refusals."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**13, 0, 10**13))


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own that has what namespaces are made of."""
    (tmp_path / "tools").symlink_to(cache_dir() / "tools")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/pause").symlink_to(cache_dir() / "bin/pause")
    monkeypatch.setenv("VLLM_EVAL_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def program(empty_cache: Path) -> Program:
    """Write a shell script that the namespaces have by this name."""

    def write(name: str, script: str) -> None:
        (empty_cache / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (empty_cache / "bin" / name).chmod(0o755)

    return write


@pytest.fixture
def sandbox(empty_cache: Path) -> Iterator[Sandbox]:
    """Namespaces as `make up` makes them, where the kernel lets us."""
    if not can_unshare():
        pytest.skip(NO_NAMESPACES)
    namespace = Sandbox(Paths.of_this_clone())
    namespace.start()
    yield namespace
    namespace.stop()
