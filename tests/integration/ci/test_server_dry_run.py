"""The check that runs before a manifest is pushed, against a real API server."""

import difflib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from tests.support.ci.git_world import JOB, MANIFEST, World, digest
from workbench.paths import REPOSITORY

SCRIPT: Final = REPOSITORY / "workbench" / "ci" / "server_dry_run.py"
SHIPPED: Final = (REPOSITORY / MANIFEST).read_text(encoding="utf-8")


def dry_run(*paths: Path, path_variable: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(SCRIPT), *map(str, paths)]
    env = {**os.environ, "PATH": path_variable}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)


def test_each_bad_manifest_is_refused_with_its_reason_and_the_good_one_is_not(tmp_path: Path) -> None:
    broken = {
        "unknown-field.yaml": (SHIPPED.replace("completions: 1 ", "completion: 1 "), 'unknown field "spec.completion"'),
        "indexed.yaml": (
            SHIPPED.replace("completionMode: Indexed", "completionMode: NonIndexed"),
            "backoffLimitPerIndex",
        ),
        "root.yaml": (SHIPPED.replace("runAsNonRoot: true", "runAsNonRoot: false"), "would violate PodSecurity"),
        "namespace.yaml": (SHIPPED.replace("namespace: vllm-eval", "namespace: elsewhere"), '"elsewhere" not found'),
        "kind.yaml": ("apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: x}\n", 'no matches for kind "Thing"'),
    }
    for name, (text, _) in broken.items():
        assert text != SHIPPED, f"{name} does not break the shipped manifest any more"
        (tmp_path / name).write_text(text, encoding="utf-8")
    kustomization = tmp_path / "folder" / "kustomization.yaml"
    kustomization.parent.mkdir()
    kustomization.write_text("resources: [gone.yaml]\n", encoding="utf-8")
    good = tmp_path / "good.yaml"
    good.write_text(SHIPPED, encoding="utf-8")

    done = dry_run(*(tmp_path / name for name in broken), kustomization.parent, good, REPOSITORY / "k8s")

    assert done.returncode == 1
    for name, (_, reason) in broken.items():
        report = done.stderr.partition(f"{name}: the API server refuses it:")[2].partition("refuses it:")[0]
        assert reason in report, done.stderr
    assert "folder: kustomize refuses it" in done.stderr
    assert "good.yaml" not in done.stderr
    assert done.stdout.count("created (server dry run)") == 3


def test_missing_server_is_told_from_a_refusal(tmp_path: Path) -> None:
    # Not /usr/bin: Debian's etcd-server puts one there.
    (tmp_path / "openssl").symlink_to(str(shutil.which("openssl")))
    done = dry_run(REPOSITORY / "k8s", path_variable=str(tmp_path))
    assert done.returncode == 2
    assert "etcd" in done.stderr
    assert "Traceback" not in done.stderr


def test_terminated_check_leaves_no_server_behind(tmp_path: Path) -> None:
    # A process group of its own, in which whatever is left can be found.
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(REPOSITORY / "k8s")],
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("*/apiserver.crt")) and time.monotonic() < deadline:
        time.sleep(0.05)

    process.terminate()

    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert list(tmp_path.iterdir()) == []


def test_shipped_manifest_is_written_back_in_two_lines_that_the_server_takes(tmp_path: Path) -> None:
    world = World(tmp_path)
    clone = world.clone()
    commit = world.change(clone, {MANIFEST: SHIPPED}, "The shipped manifest")

    done = world.write_back(clone, commit, digest("a"), "--validate", f"{sys.executable} {SCRIPT}")

    assert done.returncode == 0, done.stderr
    changed = list(difflib.unified_diff(SHIPPED.splitlines(), world.manifest().splitlines(), n=0, lineterm=""))[2:]
    added = [line[1:].strip() for line in changed if line.startswith("+")]
    assert len(added) == 2, changed
    assert added[0].startswith(f"git-commit: {commit}")
    assert added[1] == f"image: ghcr.io/acme/vllm-eval-evalchemy:latest@{digest('a')}"


def test_manifest_that_the_server_refuses_is_not_pushed(tmp_path: Path) -> None:
    world = World(tmp_path)
    clone = world.clone()
    commit = world.change(clone, {MANIFEST: JOB.replace("completions: 1\n", "completion: 1\n")}, "A typing error")

    done = world.write_back(clone, commit, digest("a"), "--validate", f"{sys.executable} {SCRIPT}")

    assert done.returncode == 2
    assert 'unknown field "spec.completion"' in done.stderr
    assert "nothing was pushed" in done.stderr
    assert world.tip() == commit
