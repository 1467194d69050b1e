"""One API server for all tests of the plugins, and for each of them a stack of its own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.engine import Stack
from tests.support.apiserver import ApiServer, running_apiserver


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_apiserver(tmp_path_factory.mktemp("server"), controllers=True) as running:
        yield running


@pytest.fixture(scope="session")
def empty_stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    Stack(folder, folder / "none").create()
    return folder


@pytest.fixture
def stack(tmp_path: Path, empty_stack: Path, server: ApiServer) -> Stack:
    shutil.copytree(empty_stack, tmp_path, dirs_exist_ok=True)
    return Stack(tmp_path, server.kubeconfig)
