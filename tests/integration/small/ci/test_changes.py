"""Which changes need the end-to-end suite, and which a new image in the sandbox."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.ci.git_world import World
from workbench.paths import REPOSITORY, Paths
from workbench.sandbox import git
from workbench.sandbox.namespaces import Sandbox

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


@pytest.mark.parametrize(
    ("file", "current"),
    [
        ("docs/x.md", True),
        ("eval/evalchemy/README.md", True),
        ("docker/notes.md", True),
        ("k8s/evalchemy-job.yaml", True),
        ("eval/evalchemy/vllm_eval/pages/page.css", False),
        ("docker/evalchemy.Dockerfile", False),
    ],
)
def test_prose_builds_no_image_in_the_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, current: bool
) -> None:
    world, sandbox = World(tmp_path), Sandbox(Paths(tmp_path, "test"))
    recorded = world.tip()
    world.change(world.clone(), {file: "words\n"}, "Change")
    git.repository(sandbox).parent.mkdir(parents=True)
    git.repository(sandbox).symlink_to(world.remote)
    monkeypatch.setattr(git, "recorded", lambda _sandbox, _path: recorded)
    assert git.image_is_current(sandbox) == current
