"""What several files ask for."""

from typing import Final

import pytest

from tests.support import program
from tests.support.program import Stack

STACKS: Final = ("dev", "prod", "local")


@pytest.fixture(scope="package", params=STACKS)
def stack(request: pytest.FixtureRequest) -> Stack:
    """Each of the committed stacks."""
    return program.run(program.stack_file(request.param), stack=request.param)
