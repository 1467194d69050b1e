"""Fixtures of the workflows' tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ci.git_world import World
from tests.support.ci.github_server import github_server
from tests.support.ci.pull_request import PullRequest


@pytest.fixture
def pull_request(tmp_path: Path) -> Iterator[PullRequest]:
    with github_server() as server:
        yield PullRequest(World(tmp_path), server)
