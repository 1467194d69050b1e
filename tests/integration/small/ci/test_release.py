"""A release: the changelog's section, the package's version, one commit, one tag; or one error and nothing changed."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.ci.git_world import IMAGE, JOB, MANIFEST, PLACEHOLDER, World, digest
from workbench.ci import release

CHANGES = "# Changelog\n\n## Unreleased\n\n- `a` is new.\n# not a heading of ours\n\n## 0.9.0 (2026-01-01)\n\n- old\n"
PACKAGE = '[project]\nname = "x"\nversion = "0.9.0"\n\n[tool.y]\nversion = "1"\n'


@pytest.fixture
def clone(world: World, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in world.environment.items():
        monkeypatch.setenv(name, value)
    clone = world.clone()
    world.change(clone, {release.CHANGELOG: CHANGES, release.PACKAGE: PACKAGE}, "Base", push=False)
    built = world.git(clone, "rev-parse", "HEAD")
    manifest = JOB.replace(PLACEHOLDER, built).replace(f"{IMAGE}:latest", f"{IMAGE}:latest@{digest('a')}")
    world.change(clone, {MANIFEST: manifest}, "Evaluate", push=False)
    world.git(clone, "switch", "--quiet", "-C", "main")
    world.git(clone, "tag", "v0.9.0")
    return clone


def test_a_release_is_one_commit_and_one_tag_with_the_notes(world: World, clone: Path) -> None:
    before = world.git(clone, "rev-parse", "HEAD")
    release.release("0.10.0", clone)
    assert world.git(clone, "rev-parse", "v0.10.0^{commit}^") == before
    assert world.git(clone, "log", "-1", "--format=%s") == "Release 0.10.0"
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    assert (clone / release.CHANGELOG).read_text() == CHANGES.replace(
        "## Unreleased\n", f"## Unreleased\n\n## 0.10.0 ({day})\n", 1
    )
    assert (clone / release.PACKAGE).read_text() == PACKAGE.replace("0.9.0", "0.10.0")
    assert "- `a` is new.\n# not a heading of ours" in world.git(
        clone, "tag", "--list", "--format=%(contents)", "v0.10.0"
    )
    assert world.git(clone, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("", "VERSION is '': give three numbers, such as make release VERSION=1.2.0"),
        ("v1.0.0", "VERSION is 'v1.0.0': give three numbers"),
        ("1.0", "VERSION is '1.0': give three numbers"),
        ("01.0.0", "VERSION is '01.0.0': give three numbers"),
        ("0.9.0", "v0.9.0 is there already: give a higher one"),
        ("0.8.9", "v0.9.0 is there already"),
    ],
)
def test_a_version_that_cannot_be_is_refused(clone: Path, version: str, said: str) -> None:
    with pytest.raises(release.ReleaseError, match=said):
        release.release(version, clone)


def test_nothing_to_tell_is_no_release(world: World, clone: Path) -> None:
    world.change(
        clone, {release.CHANGELOG: CHANGES.replace("- `a` is new.\n# not a heading of ours\n", "")}, "Less", push=False
    )
    with pytest.raises(release.ReleaseError, match="nothing under '## Unreleased'"):
        release.release("1.0.0", clone)


def test_only_what_is_committed_on_main_is_released(world: World, clone: Path) -> None:
    (clone / "new").write_text("x")
    with pytest.raises(release.ReleaseError, match="commit or stash first"):
        release.release("1.0.0", clone)
    (clone / "new").unlink()
    world.git(clone, "switch", "--quiet", "-c", "topic")
    with pytest.raises(release.ReleaseError, match="the branch is topic: a release is made on main"):
        release.release("1.0.0", clone)
    listed = subprocess.run(["git", "-C", clone, "tag"], capture_output=True, text=True, check=True)
    assert listed.stdout == "v0.9.0\n"


def test_a_release_runs_the_image_of_its_own_code(world: World, clone: Path) -> None:
    world.change(clone, {"eval/README.md": "words\n"}, "Words", push=False)
    release.check_image(clone)
    world.change(clone, {"eval/task.txt": "2\n", "docker/x.Dockerfile": "FROM y\n"}, "Change", push=False)
    with pytest.raises(release.ReleaseError, match=r"runs the image of \w{12}, before docker/x.Dockerfile and 1 more"):
        release.release("1.0.0", clone)
    world.change(clone, {MANIFEST: JOB}, "No image", push=False)
    with pytest.raises(release.ReleaseError, match="names no image that CI has built: push main, let image-build"):
        release.release("1.0.0", clone)
