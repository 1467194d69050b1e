"""Every committed file that is made is what `make generate` makes."""

import pytest

from workbench.ci import generate
from workbench.paths import REPOSITORY


@pytest.fixture(scope="module")
def data() -> dict[str, str]:
    return generate.data()


@pytest.mark.parametrize("path", generate.MADE)
def test_a_made_file_is_up_to_date(path: str) -> None:
    committed = (REPOSITORY / path).read_text(encoding="utf-8")
    assert committed == generate.MADE[path](), f"{path} is stale: run `make generate`"


def test_the_items_of_our_tasks_are_up_to_date(data: dict[str, str]) -> None:
    assert set(data) == {f"eval/evalchemy/data/custom_task_{number}.jsonl" for number in (1, 2)}
    for path, text in data.items():
        assert (REPOSITORY / path).read_text(encoding="utf-8") == text, f"{path} is stale: run `make generate`"
