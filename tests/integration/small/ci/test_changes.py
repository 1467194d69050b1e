"""Which changes need the end-to-end suite."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.ci.git_world import World
from workbench.paths import REPOSITORY

SCRIPT: Final = REPOSITORY / "workbench" / "ci" / "changes.py"


def asked(world: World, clone: Path, base: str) -> str:
    output = world.folder / "output"
    output.unlink(missing_ok=True)
    command = [sys.executable, "-W", "error", str(SCRIPT), "--base", base]
    env = {**world.environment, "GITHUB_OUTPUT": str(output)}
    done = subprocess.run(command, cwd=clone, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return output.read_text(encoding="utf-8").strip()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["docs/ci.md", "docs/adr/x.md", "README.md", "README.ko.md"], "e2e=false"),
        (["docs/ci.md", "k8s/evalchemy-job.yaml"], "e2e=true"),
        (["eval/evalchemy/tasks/README.md"], "e2e=true"),
        (["Makefile"], "e2e=true"),
        (["docs.py"], "e2e=true"),
    ],
)
def test_only_prose_needs_no_cluster(tmp_path: Path, files: list[str], expected: str) -> None:
    world = World(tmp_path)
    clone = world.clone()
    base = world.tip()
    world.change(clone, dict.fromkeys(files, "words\n"), "Change", push=False)
    assert asked(world, clone, base) == expected


@pytest.mark.parametrize("base", ["0" * 40, "f" * 40, ""])
def test_what_is_not_known_needs_it(tmp_path: Path, base: str) -> None:
    world = World(tmp_path)
    assert asked(world, world.clone(), base) == "e2e=true"


def test_nothing_changed_needs_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert asked(world, world.clone(), world.tip()) == "e2e=true"
