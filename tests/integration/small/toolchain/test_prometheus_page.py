"""Prometheus' page is built once, by Node; the build itself takes minutes and the npm registry."""

from pathlib import Path

import pytest

from workbench.paths import Paths
from workbench.shell import WorkbenchError
from workbench.toolchain import prometheus_page


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "cache", "test")


def node(folder: Path, version: str) -> str:
    """Make a machine's Node and npx, and return its PATH."""
    for name, said in (("node", version), ("npx", "")):
        (folder / name).write_text(f"#!/bin/sh\necho {said}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_without_node_or_with_an_old_one_nothing_begins(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (str(tmp_path), node(tmp_path, "v18.20.1")):
        monkeypatch.setenv("PATH", path)
        with pytest.raises(WorkbenchError, match="is built by Node 20 or later"):
            prometheus_page.build(paths)
    assert not paths.cache.exists()


def test_what_is_there_is_not_built_again(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    prometheus_page.folder(paths).mkdir(parents=True)
    prometheus_page.build(paths)
