"""One Chromium for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.support.browser import Browser, chromium


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A Chromium with an empty profile."""
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser
