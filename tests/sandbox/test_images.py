"""The image cache does not grow for ever."""

from pathlib import Path

import pytest

from sandbox import images


def test_a_large_registry_is_begun_anew_and_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "registry/blobs").mkdir(parents=True)
    (tmp_path / "registry/blobs/layer").write_bytes(b"x" * 1000)
    images.drop_if_large(tmp_path / "registry", 1000)
    assert (tmp_path / "registry/blobs/layer").exists()
    images.drop_if_large(tmp_path / "registry", 999)
    assert not (tmp_path / "registry").exists()
    assert "removed and built anew" in capsys.readouterr().out


def test_a_registry_that_is_not_there_is_small(tmp_path: Path) -> None:
    images.drop_if_large(tmp_path / "registry", 0)
