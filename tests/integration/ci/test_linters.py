"""The workflows pass their linters, and Renovate finds each pin."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.integration.ci.git_world import REPOSITORY

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


@pytest.mark.parametrize(
    "command",
    [
        ["actionlint"],
        ["zizmor", "--offline", "--quiet", "--persona", "auditor", ".github"],
    ],
    ids=lambda command: command[0],
)
def test_linters_find_nothing(command: list[str]) -> None:
    venv = Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{venv}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
