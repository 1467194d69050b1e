"""The table of objects and owners in docs/architecture.md names what the program declares, and nothing else."""

import re
from typing import Final

import yaml

from tests.support import program
from workbench.paths import REPOSITORY

TEXT: Final = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
ROWS: Final = re.findall(
    r"^\| (\w+)(?: \(Helm\))? \| \*?([\w.-]+)\*? \| ([^|]+) \| `([^`]+)` \|",
    TEXT.partition("## Objects and owners")[2],
    re.M,
)


def test_the_table_of_owners_is_complete() -> None:
    stacks = [program.with_every_secret(name) for name in ("dev", "prod", "local")]
    declared = {(each.kind, str(each.metadata["name"])) for stack in stacks for each in stack.kubernetes()}
    manifests = [yaml.safe_load(path.read_text()) for path in (REPOSITORY / "k8s").glob("evalchemy-*.yaml")]
    declared |= {(each["kind"], each["metadata"]["name"]) for each in manifests}
    assert sorted((kind, name) for kind, name, _, _ in ROWS) == sorted(declared)
    for _, _, _, file in ROWS:
        assert (REPOSITORY / file).is_file(), file
