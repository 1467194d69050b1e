"""What the comparison of alerts says was played is what was played."""

import re
from pathlib import Path

import yaml

from tests.support.simulation.play import ORIGIN

COMPARED = (Path(__file__).parents[3] / "docs" / "alerts-compared.md").read_text(encoding="utf-8")


def test_the_plain_rule_is_the_one_that_was_played() -> None:
    [quoted] = re.findall(r"```yaml\n(.*?)```", COMPARED, re.DOTALL)
    assert yaml.safe_load(quoted) == [{**ORIGIN, "alert": "CustomTaskRegression"}]
