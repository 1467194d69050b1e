"""The image cache does not grow for ever, and nothing damaged in it is used."""

import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.ports import free_port
from workbench.paths import Paths, cache_dir
from workbench.sandbox import images
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import run, wait_for


def test_a_large_registry_is_begun_anew_and_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "registry/blobs").mkdir(parents=True)
    (tmp_path / "registry/blobs/layer").write_bytes(b"x" * 1000)
    images.drop_if_large(tmp_path / "registry", 1000)
    assert (tmp_path / "registry/blobs/layer").exists()
    images.drop_if_large(tmp_path / "registry", 999)
    assert not (tmp_path / "registry").exists()
    assert "removed and built anew" in capsys.readouterr().out


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A real registry with a small image, stopped."""
    folder, port = tmp_path / "registry", free_port()
    config = tmp_path / "registry.yaml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n"
    )
    with tarfile.open(tmp_path / "layer.tar", "w") as archive:
        archive.add(images.__file__, arcname="large")
        archive.add(cache_dir() / "bin/pause", arcname="pause")
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(["registry", "serve", config], stdout=log, stderr=log)
    try:
        name = f"127.0.0.1:{port}/sandbox/small:1"
        push = ["crane", "append", "--insecure", f"--new_layer={tmp_path}/layer.tar", f"--new_tag={name}"]
        wait_for("the push", lambda: run(push), seconds=60)
    finally:
        process.terminate()
        process.wait(timeout=20)
    return folder


def test_a_whole_registry_is_kept(registry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images.drop_if_damaged(registry)
    assert registry.exists()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("small", [2**20, 600])  # the second makes the layer a large one, which is not read
@pytest.mark.parametrize("size", [0, -1])
def test_a_registry_with_a_blob_cut_short_is_named_and_begun_anew(
    registry: Path, small: int, size: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(images, "SMALL", small)
    blob = max(registry.rglob("data"), key=lambda each: each.stat().st_size)
    assert blob.stat().st_size > 2 * 600
    os.truncate(blob, size if size >= 0 else blob.stat().st_size - 1)
    images.drop_if_damaged(registry)
    assert not registry.exists()
    assert f"{blob} in the image cache is damaged: all images are removed" in capsys.readouterr().out


def test_a_manifest_with_other_content_is_damaged(registry: Path) -> None:
    manifest = next(each for each in registry.rglob("data") if b'"layers"' in each.read_bytes())
    manifest.write_bytes(bytes(manifest.stat().st_size))
    images.drop_if_damaged(registry)
    assert not registry.exists()


def damage(folder: Path) -> Path:
    """Leave a registry as a power failure does, and return it."""
    blob = folder / "registry/docker/registry/v2/blobs/sha256/00" / ("0" * 64) / "data"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"")
    return folder / "registry"


def test_images_are_looked_through_again_after_a_power_failure_which_leaves_the_sandboxs_state(tmp_path: Path) -> None:
    paths = Paths(tmp_path, f"vllm-eval-test-images-{os.getpid()}")
    paths.state.mkdir(parents=True)
    folder = images.store(paths)
    damaged = damage(folder)
    assert images.store(paths) == folder
    assert not damaged.exists()


def test_images_in_use_are_left_alone_and_those_of_a_second_sandbox_are_its_own(sandbox: Sandbox) -> None:
    folder = images.store(sandbox.paths)
    sandbox.daemon("registry", ["sleep", "60"])
    used = damage(folder)
    assert images.store(sandbox.paths) == folder
    second = replace(sandbox.paths, name=f"{sandbox.paths.name}-second")
    second.state.mkdir(parents=True)
    own = images.store(second)
    assert own == second.state / "images"
    damaged = damage(own)
    assert images.store(second) == own
    assert not damaged.exists()
    assert used.exists(), "a registry that runs would lose its files"


def test_a_registry_that_is_not_there_is_small(tmp_path: Path) -> None:
    images.drop_if_large(tmp_path / "registry", 0)
    images.drop_if_damaged(tmp_path / "registry")
