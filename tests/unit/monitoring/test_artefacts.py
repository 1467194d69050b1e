"""What is committed is what the program makes."""

from pathlib import Path

import pytest

from monitoring.__main__ import ARTEFACTS

FOLDER = Path(__file__).parents[3] / "monitoring"


@pytest.mark.parametrize("name", ARTEFACTS)
def test_the_committed_file_is_up_to_date(name: str) -> None:
    committed = (FOLDER / name).read_text(encoding="utf-8")
    assert committed == ARTEFACTS[name](), f"monitoring/{name} is stale: run `python -m monitoring`"
