"""docs/trust.md names a test for each check: each must be there."""

import re

from workbench.paths import REPOSITORY


def test_every_test_that_the_document_names_is_there() -> None:
    named = re.findall(
        r"`(test_\w+\.py)(?:::(test_\w+))?`", (REPOSITORY / "docs" / "trust.md").read_text(encoding="utf-8")
    )
    files = {path.name: path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("eval/test_*.py")}
    assert len(named) > 15
    assert not [(file, test) for file, test in named if f"def {test}" not in files.get(file, "")]
