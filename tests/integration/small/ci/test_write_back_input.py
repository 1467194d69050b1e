"""What the write-back makes of bad arguments and unusual manifests."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.ci.git_world import IMAGE, JOB, MANIFEST, PLACEHOLDER, World, digest
from workbench.paths import REPOSITORY


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--digest", "sha256:abc"], "--digest 'sha256:abc' must be sha256: and 64 hexadecimal digits"),
        (["--commit", "abc"], "--commit 'abc' must be a full commit hash (git rev-parse HEAD)"),
        (["--commit", "e" * 40], f"--commit {'e' * 40} is not on main"),
        (["--image", "ghcr.io/acme/x:latest"], "--image 'ghcr.io/acme/x:latest' must be REGISTRY/PATH without tag"),
        (["--file", "k8s/other.yaml"], "main has no file k8s/other.yaml"),
        (["--file", "eval/task.txt"], "kind is None, 'Job' is needed"),
        (["--attempts", "0"], "--attempts is 0, 1 or more is needed"),
        (["--repository", "/nowhere"], "/nowhere"),
    ],
)
def test_bad_input_gets_one_error_that_names_it(world: World, extra: list[str], message: str) -> None:
    clone = world.clone()
    done = world.write_back(clone, world.tip(), digest("a"), *extra)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert world.manifest() == JOB


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            JOB.replace("name: evalchemy\n", "name: other\n"),
            "a container named 'evalchemy' is needed, the Job has: sidecar, other",
        ),
        (JOB.replace("kind: Job", "kind: CronJob"), "kind is 'CronJob', 'Job' is needed"),
        (JOB + "---\n" + JOB, "the file must hold the evaluation Job and nothing else"),
        ("a: [", "the manifest cannot be read"),
    ],
)
def test_manifest_that_is_no_evaluation_job(world: World, text: str, message: str) -> None:
    clone = world.clone()
    commit = world.change(clone, {MANIFEST: text}, "Break it")
    done = world.write_back(clone, commit, digest("a"))
    assert done.returncode == 2
    assert message in done.stderr


def test_manifest_without_the_annotation_gets_it(world: World) -> None:
    clone = world.clone()
    commit = world.change(clone, {MANIFEST: JOB.replace(f'git-commit: "{PLACEHOLDER}"', "other: x")}, "Drop it")
    assert world.write_back(clone, commit, digest("a")).returncode == 0
    assert f"git-commit: {commit}" in world.manifest() or f'git-commit: "{commit}"' in world.manifest()
    assert f"{IMAGE}:latest@{digest('a')}" in world.manifest()


def test_owner_in_mixed_case_is_lowered(world: World) -> None:
    clone = world.clone()
    done = world.write_back(clone, world.tip(), digest("a"), "--image", "ghcr.io/ACME/vllm-eval-evalchemy")
    assert done.returncode == 0, done.stderr
    assert f"image: {IMAGE}:latest@{digest('a')}" in world.manifest()


def test_another_yq_is_refused_by_name(world: World, tmp_path: Path) -> None:
    other = tmp_path / "bin" / "yq"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\necho 'yq 0.0.0'\n", encoding="utf-8")
    other.chmod(0o755)
    world.environment["PATH"] = f"{other.parent}:{world.environment['PATH']}"

    done = world.write_back(world.clone(), world.tip(), digest("a"))

    assert done.returncode == 2
    assert "yq v4 of github.com/mikefarah/yq is needed, PATH has yq 0.0.0" in done.stderr


@pytest.mark.parametrize("commit", ["1" * 40, "1" * 20 + "e" + "1" * 19, "0" * 39 + "1"])
def test_commit_that_looks_like_a_number_stays_a_string(commit: str) -> None:
    unquoted = JOB.replace(f'"{PLACEHOLDER}"', "fresh")
    program = (
        "import sys; from workbench.ci import job_manifest as m\n"
        "new = m.replace(sys.stdin.read(), m.Recorded(sys.argv[1], sys.argv[2]))\n"
        "assert m.read(new) == m.Recorded(sys.argv[1], sys.argv[2]), new\n"
        "print(new)"
    )
    command = [sys.executable, "-c", program, commit, f"{IMAGE}:latest@{digest('a')}"]
    done = subprocess.run(command, input=unquoted, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    annotations = yaml.safe_load(done.stdout)["spec"]["template"]["metadata"]["annotations"]
    assert annotations["git-commit"] == commit
