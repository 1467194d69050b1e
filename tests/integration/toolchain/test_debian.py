"""Debian's programs are unpacked into the cache, by apt and dpkg."""

import hashlib
from pathlib import Path

import pytest

from tests.support.serving import Answer, answering
from workbench.paths import Paths
from workbench.shell import WorkbenchError, run
from workbench.toolchain import tools


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """An empty cache."""
    return Paths(cache=tmp_path / "cache", name="test")


def apt_config(folder: Path, source: str) -> Path:
    """Write a configuration of apt that knows one source alone, and return it."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "sources.list").write_text(f"deb [trusted=yes] {source}\n")
    (folder / "apt.conf").write_text(
        f'Dir::Etc {{ SourceList "{folder}/sources.list"; SourceParts "/none"; Parts "/none"; Main "/none"; }};'
        f'Dir::State::Lists "{folder}/lists"; Dir::Cache "{folder}/cache"; Acquire::Retries "0";'
    )
    return folder / "apt.conf"


def test_a_library_that_newer_releases_renamed_is_found(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "library"
    (source / "usr/sbin").mkdir(parents=True)
    (source / "usr/sbin/program").write_text("#!/bin/sh\n")
    (source / "DEBIAN").mkdir()
    control = "Package: library0t64\nVersion: 1\nArchitecture: all\nMaintainer: us\nDescription: none\n"
    (source / "DEBIAN/control").write_text(control)
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    run(["dpkg-deb", "--build", source, mirror / "library.deb"])
    content = (mirror / "library.deb").read_bytes()
    listed = f"Filename: ./library.deb\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
    (mirror / "Packages").write_text(control + listed)
    monkeypatch.setenv("APT_CONFIG", str(apt_config(tmp_path / "apt", f"file://{mirror} ./")))
    monkeypatch.setattr(tools, "DEBIAN_PACKAGES", ["library0"])
    assert (tools.unpack_debian(paths) / "usr/sbin/program").exists()


def test_refused_debian_packages_name_address_and_cure(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(lambda _: Answer(403)) as address:
        config = apt_config(tmp_path / "apt", f"http://{address}/debian bookworm main")
        monkeypatch.setenv("APT_CONFIG", str(config))
        with pytest.raises(WorkbenchError) as error:
            tools.unpack_debian(paths)
    text = str(error.value)
    assert text.startswith(f"Debian's programs could not be fetched: http://{address}/debian/dists/bookworm/")
    assert "403  Forbidden" in text.split("\n")[0]
    assert "/etc/apt/sources.list" in text
    assert list((paths.cache / "tools").iterdir()) == []
