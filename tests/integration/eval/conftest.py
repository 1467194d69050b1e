"""What the runner's tests with real services share."""

from collections.abc import Iterator

import pytest

from tests.support.pushgateway import Pushgateway, running_pushgateway


@pytest.fixture(scope="session")
def pushgateway() -> Iterator[Pushgateway]:
    """A real gateway for all tests; each uses a stack of its own name."""
    with running_pushgateway() as gateway:
        yield gateway
