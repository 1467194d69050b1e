"""CI's containers pass their controllers on: with groups of this machine's version 2, and with made-up ones."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.ci.pull_request import SCRIPTS
from tests.support.kernel import needs_namespaces
from workbench.paths import REPOSITORY

SCRIPT = SCRIPTS / "pass_cgroups_on.sh"
VERSION2 = next(
    (
        each
        for each in map(Path, ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"))
        if (each / "cgroup.controllers").exists()
    ),
    None,
)


def call(root: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(SCRIPT), str(root)], capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def group() -> Iterator[Path]:
    """A group of this machine with a process in it, as a container's root has."""
    assert VERSION2
    root = VERSION2 / f"vllm-eval-test-container-{os.getpid()}"
    root.mkdir()
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            (root / "cgroup.procs").write_text(str(process.pid))
            yield root
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            for each in (root / "init", root):
                for _ in range(100):  # the kernel needs a moment to let go of killed processes
                    try:
                        each.rmdir()
                    except FileNotFoundError:
                        break
                    except OSError:
                        time.sleep(0.05)
                    else:
                        break


@needs_namespaces
@pytest.mark.skipif(VERSION2 is None, reason="this kernel has no version 2 mounted")
def test_the_processes_move_to_a_leaf_and_the_controllers_are_passed_on(group: Path) -> None:
    (process,) = (group / "cgroup.procs").read_text().split()
    for _ in range(2):  # a second call changes nothing
        done = call(group)
        assert done.returncode == 0, done.stderr
        assert (group / "cgroup.procs").read_text() == ""
        assert (group / "init/cgroup.procs").read_text().split() == [process]
        assert (group / "cgroup.subtree_control").read_text() == (group / "cgroup.controllers").read_text()


def fake(root: Path, controllers: str) -> Path:
    (root / "init").mkdir()
    (root / "cgroup.controllers").write_text(f"{controllers}\n")
    (root / "cgroup.procs").write_text("4194305\n")
    (root / "cgroup.subtree_control").write_text("")
    return root


def test_every_controller_is_asked_for(tmp_path: Path) -> None:
    root = fake(tmp_path, "cpuset cpu io memory pids")
    assert call(root).returncode == 0
    assert (root / "cgroup.subtree_control").read_text() == "+cpuset +cpu +io +memory +pids\n"
    assert (root / "init/cgroup.procs").read_text() == "4194305\n"


def test_a_root_that_cannot_is_one_error_with_what_is_still_in_it(tmp_path: Path) -> None:
    root = fake(tmp_path, "memory")
    (root / "cgroup.subtree_control").unlink()
    (root / "cgroup.subtree_control").mkdir()  # nobody can write to it
    (root / "cgroup.procs").write_text(f"{os.getpid()}\n")
    done = call(root)
    assert done.returncode == 1
    assert f"error: {root} does not pass on its controllers (memory); still in it:\n  {os.getpid()} " in done.stderr


def test_version_1_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    assert call(tmp_path).returncode == 0
    assert [each.name for each in tmp_path.iterdir()] == ["memory"]


def test_each_privileged_container_passes_them_on_before_a_sandbox_is_made_in_it() -> None:
    jobs = [
        job
        for path in (REPOSITORY / ".github/workflows").glob("*.yml")
        for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
        if "--privileged" in str(job.get("container", ""))
    ]
    assert jobs
    for job in jobs:
        runs = [step.get("run") for step in job["steps"]]
        assert f"workbench/ci/{SCRIPT.name}" in runs[: runs.index("make test")]
