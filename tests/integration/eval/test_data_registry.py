"""A bundle as an image in a real registry: pushed, pulled by the runner, the same bytes on two machines."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from s3fs import S3FileSystem  # type: ignore[import-untyped] # s3fs has no types

from tests.support.benchmarks import QUESTIONS, rows_of, write_bundle
from tests.support.ci.oci_registry import Registry, running_registry
from tests.support.s3 import running_s3
from vllm_eval.data.resolve import opened_bundle
from vllm_eval.data.write import store
from vllm_eval.errors import DataError, RunSettingsError, TaskError


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One registry for all tests."""
    with running_registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


def opening(location: str) -> None:
    with opened_bundle(location):
        pass


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_image_is_read_as_the_folder_that_it_was_made_of(registry: Registry, tmp_path: Path) -> None:
    files = files_of(write_bundle(tmp_path / "bundle", rows_of(QUESTIONS)))
    pushed = store(files, f"oci://{registry.address}/team/benchmarks:v1")
    assert store(dict(reversed(files.items())), f"oci://{registry.address}/team/benchmarks:v1") == pushed
    for location in (f"oci://{registry.address}/team/benchmarks:v1", pushed):
        with opened_bundle(location) as bundle:
            data = bundle.data_of("numbers", None)
        assert list(data.items) == rows_of(QUESTIONS)
    with pytest.raises(TaskError, match="has no such image"):
        opening(f"oci://{registry.address}/team/benchmarks:v2")
    wrong = pushed.rpartition("@")[0] + "@sha256:" + "0" * 64
    with pytest.raises(TaskError, match="has no such image"):
        opening(wrong)
    with pytest.raises(RunSettingsError, match="is no reference like oci://"):
        opening("oci://nowhere")


def test_a_layer_that_is_damaged_in_the_registry_is_no_bundle(registry: Registry, tmp_path: Path) -> None:
    files = files_of(write_bundle(tmp_path / "bundle", rows_of(QUESTIONS), commit="d" * 40))
    store(files, f"oci://{registry.address}/team/damaged:v1")
    blobs = [path for path in (registry.folder / "data").rglob("data") if path.stat().st_size > 5000]
    for blob in blobs:
        content = bytearray(blob.read_bytes())
        content[700] ^= 1
        blob.write_bytes(content)
    with pytest.raises((DataError, TaskError), match=r"damaged|digest"):
        opening(f"oci://{registry.address}/team/damaged:v1")


def test_a_registry_that_is_down_is_worth_a_second_try() -> None:
    with pytest.raises(DataError, match="the registry cannot be reached"):
        opening("oci://127.0.0.1:9/team/benchmarks:v1")


def test_a_bucket_is_read_as_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_of(write_bundle(tmp_path / "bundle", rows_of(QUESTIONS)))
    # fsspec keeps its connections by their arguments; the endpoint is a variable.
    S3FileSystem.clear_instance_cache()
    with running_s3() as s3:
        s3.make_bucket("benchmarks")
        for name, value in s3.environ.items():
            monkeypatch.setenv(name, value)
        place = store(files, "s3://benchmarks/v1")
        with opened_bundle(place) as bundle:
            data = bundle.data_of("numbers", None)
        assert list(data.items) == rows_of(QUESTIONS)
        with pytest.raises(TaskError, match=r"there is no manifest\.json"):
            opening("s3://benchmarks/v2")
