"""The write-back tells by a real registry whether the image has changed."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.ci.git_world import IMAGE, JOB, MANIFEST, World, digest, expected
from tests.support.ci.oci_registry import Registry, running_registry
from workbench.paths import REPOSITORY


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


def inspected(world: World, registry: Registry, commit: str, index: str) -> subprocess.CompletedProcess[str]:
    clone = world.clone()
    return world.write_back(clone, commit, index, "--inspect", "crane manifest", "--inspect-name", registry.name)


def test_unchanged_image_keeps_its_line_while_the_commit_is_written(world: World, registry: Registry) -> None:
    first = registry.push(code="same", built_at="09:00")
    second = registry.push(code="same", built_at="10:00")
    assert first != second, "attestations carry times"
    inspected(world, registry, world.tip(), first)
    commit = world.change(world.clone(), {"eval/README.md": "words\n"}, "Words only")

    done = inspected(world, registry, commit, second)

    assert "image unchanged" in done.stdout
    assert world.manifest() == expected(commit, first)


def test_changed_image_is_written(world: World, registry: Registry) -> None:
    first = registry.push(code="one", built_at="09:00")
    second = registry.push(code="two", built_at="09:00")
    inspected(world, registry, world.tip(), first)
    commit = world.change(world.clone(), {"eval/task.txt": "2\n"}, "Change the task")

    assert inspected(world, registry, commit, second).returncode == 0

    assert world.manifest() == expected(commit, second)


def test_old_image_cleaned_away_counts_as_changed(world: World, registry: Registry) -> None:
    first = registry.push(code="kept", built_at="09:00")
    second = registry.push(code="kept", built_at="10:00")
    inspected(world, registry, world.tip(), first)
    registry.delete(first)
    commit = world.change(world.clone(), {"eval/README.md": "words\n"}, "Words only")

    assert inspected(world, registry, commit, second).returncode == 0

    assert world.manifest() == expected(commit, second)


def test_image_that_the_registry_lacks_is_not_written(world: World, registry: Registry) -> None:
    done = inspected(world, registry, world.tip(), digest("a"))
    assert done.returncode == 2
    assert f"--digest {digest('a')}: the registry has no such image under {IMAGE}" in done.stderr
    assert world.manifest() == JOB


def test_a_release_tag_is_put_on_the_image_that_its_manifest_names(world: World, registry: Registry) -> None:
    built = registry.push(code="released", built_at="09:00")
    registry.push(code="newer", built_at="10:00")
    clone = world.clone()
    manifest = JOB.replace(f"{IMAGE}:latest", f"{registry.name}:latest@{built}")
    world.change(clone, {MANIFEST: manifest}, "Evaluate", push=False)

    def tag(name: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "workbench.ci.tag_release", "--tag", name, "--repository", str(clone)]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    done = tag("v1.2.0")
    assert done.returncode == 0, done.stderr
    asked = ["crane", "digest", f"{registry.name}:v1.2.0"]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip() == built
    assert tag("latest").returncode == 2
    world.change(clone, {MANIFEST: JOB}, "No digest", push=False)
    refused = tag("v1.3.0")
    assert refused.returncode == 2
    assert "by no digest: let image-build write one before the release" in refused.stderr
