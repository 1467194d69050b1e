"""What the comparison of alerts says was played is what was played."""

import re

import yaml

from tests.support.simulation.play import ORIGIN
from workbench.paths import REPOSITORY

COMPARED = (REPOSITORY / "docs" / "alerts-compared.md").read_text(encoding="utf-8")


def test_the_plain_rule_is_the_one_that_was_played() -> None:
    [quoted] = re.findall(r"```yaml\n(.*?)```", COMPARED, re.DOTALL)
    assert yaml.safe_load(quoted) == [{**ORIGIN, "alert": "CustomTaskRegression"}]
