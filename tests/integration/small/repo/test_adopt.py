"""`docs/adopt.md`: what it lets people type after `make` is what the workbench takes, and its steps are verify's."""

import re
import shlex
import subprocess
from typing import Final

import pytest

from workbench.cluster import verify
from workbench.options import parse
from workbench.paths import REPOSITORY

TEXT: Final = (REPOSITORY / "docs/adopt.md").read_text(encoding="utf-8")
BLOCKS: Final = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
TRIED: Final = [line for block in BLOCKS if not block.startswith("# hosted\n") for line in block.splitlines()]
MADE: Final = sorted({line for line in TRIED if line.startswith("make ") and line != "make venv"})


@pytest.mark.parametrize("line", MADE)
def test_what_is_typed_after_make_reaches_the_workbench(line: str) -> None:
    command, target, *variables = shlex.split(line)
    words = [command, "--dry-run", "--no-print-directory", "--old-file=venv", target, *variables]
    said = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    (typed,) = [each for each in said.splitlines() if "-m workbench " in each and " may-start" not in each]
    options = parse(shlex.split(typed.partition("-m workbench ")[2]))
    given = dict(each.split("=", 1) for each in variables)
    assert options.command == target
    assert options.stack == given["STACK"]
    assert options.context == given.get("CONTEXT", "")


def test_the_output_that_is_shown_has_the_steps_of_verify() -> None:
    shown = re.findall(r"^(?:ok|FAIL) +(\w[\w ]*?)  ", TEXT, re.MULTILINE)
    assert shown == list(verify.STEPS)
