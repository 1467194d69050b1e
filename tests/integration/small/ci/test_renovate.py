"""Renovate finds each pin that asks for updates."""

import json
import re
import subprocess
from typing import Final

from tests.support.ci.git_world import REPOSITORY

GITHUB: Final = REPOSITORY / ".github"


def test_renovate_understands_every_pin_that_asks_for_it() -> None:
    config = json.loads((GITHUB / "renovate.json").read_text(encoding="utf-8"))
    manager = config["customManagers"][0]
    pattern = re.compile(manager["matchStrings"][0].replace("(?<", "(?P<"))
    files = [re.compile(each.strip("/")) for each in manager["managerFilePatterns"]]
    listed = subprocess.run(
        ["git", "-C", str(REPOSITORY), "grep", "-lI", "^# renovate: ", "--", ":!tests"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert listed
    for name in listed:
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        assert any(each.search(name) for each in files), f"{name} is not among renovate's files"
        asked = len(re.findall(r"^# renovate: ", text, re.MULTILINE))
        assert len(pattern.findall(text)) == asked, f"{name}: a renovate comment does not describe a version"
