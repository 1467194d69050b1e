"""The sandbox's cgroups on either version, in real namespaces; version 2 with what controllers this kernel has left."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.kernel import needs_namespaces
from workbench import paths
from workbench.paths import REPOSITORY, Paths
from workbench.sandbox import doctor, namespaces
from workbench.sandbox.namespaces import CGROUPS, Sandbox
from workbench.shell import wait_for

NAME = f"vllm-eval-test-cgroups-{os.getpid()}"

# Starts and ends a sandbox on whatever is mounted as /sys/fs/cgroup, and tells what it saw in between.
SCRIPT = f"""
import json, sys
from pathlib import Path
from workbench.paths import Paths
from workbench.sandbox.namespaces import CGROUPS, Sandbox

sandbox = Sandbox(Paths(Path(sys.argv[1]), {NAME!r}))
try:
    sandbox.start()
    sandbox.daemon("sleeper", ["sleep", "60"])
    pid = (sandbox.paths.state / "sleeper.pid").read_text().split()[0]
    read = lambda command: sandbox.run(["sh", "-ec", command]).split()
    seen = {{
        "first": read("cat /proc/1/cgroup"),
        "daemon": read(f"cat /proc/{{pid}}/cgroup"),
        "processes": read("cat /sys/fs/cgroup/*/cgroup.procs"),
        # As kubelet does for its pods.
        "pods": read("mkdir -p /sys/fs/cgroup/kubepods/pod; cat /sys/fs/cgroup/kubepods/cgroup.controllers || true"),
    }}
    sandbox.start()
    seen["made"] = len(list(CGROUPS.glob("**/{NAME}")))
    seen["started again"] = sandbox.alive("sleeper")
finally:
    sandbox.stop()
# By name: other sandboxes of this machine come and go.
seen["left"] = [str(each) for each in CGROUPS.glob("**/{NAME}")]
print(json.dumps(seen))
"""


def lifetime(cache: Path, mount: str) -> dict[str, Any]:
    shell = f'mount --make-rprivate /; {mount} exec "$@"'
    command = ["unshare", "--mount", "sh", "-ec", shell, "sh", sys.executable, "-c", SCRIPT, str(cache)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@contextmanager
def passing_on(controllers: Path) -> Iterator[list[str]]:
    """Let version 2's root pass its controllers on, as systemd's does, and put it back."""
    (have, kept) = (
        set((controllers / f"cgroup.{each}").read_text().split()) for each in ("controllers", "subtree_control")
    )
    for each in have - kept:
        (controllers / "cgroup.subtree_control").write_text(f"+{each}")
    try:
        yield sorted(have)
    finally:
        for each in have - kept:
            (controllers / "cgroup.subtree_control").write_text(f"-{each}")


def version2() -> Path | None:
    """Return where version 2 is mounted, alone or beside version 1."""
    return next((each for each in (CGROUPS, CGROUPS / "unified") if (each / "cgroup.controllers").exists()), None)


@needs_namespaces
@pytest.mark.skipif(version2() is None, reason="this kernel has no version 2 mounted")
def test_version_2_passes_its_controllers_on_and_leaves_nothing(empty_cache: Path) -> None:
    mounted = version2()
    assert mounted
    with passing_on(mounted) as controllers:
        # Where version 2 is there alone, the kernel does not mount it on top of itself.
        seen = lifetime(empty_cache, "mount -t tmpfs tmpfs /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup;")
    assert seen["first"][-1] == seen["daemon"][-1] == "0::/init"
    assert "1" in seen["processes"]
    assert sorted(seen["pods"]) == controllers, "pods would have no cgroups"
    assert seen["started again"] is True
    assert seen["made"] > 0, "the comparison would not see the sandbox's groups"
    assert seen["left"] == []


@needs_namespaces
@pytest.mark.skipif((CGROUPS / "cgroup.controllers").exists(), reason="this machine has version 2 alone")
def test_version_1_joins_every_hierarchy_and_leaves_nothing(empty_cache: Path) -> None:
    seen = lifetime(empty_cache, "")
    listed = [line.split(":", 2) for line in seen["first"]]
    assert listed
    assert seen["daemon"] == seen["first"]
    assert {path for _, names, path in listed if names} == {"/"}, "each is the root of its own namespace"
    assert seen["started again"] is True
    assert seen["made"] > 0, "the comparison would not see the sandbox's groups"
    assert seen["left"] == []


@needs_namespaces
def test_a_start_that_was_killed_is_made_good_and_leaves_no_orphan(empty_cache: Path) -> None:
    sandbox = Sandbox(Paths(empty_cache, NAME))
    try:
        sandbox.start()
        orphan = sandbox.pid()
        # Killed before it wrote the file that names the first process.
        (sandbox.paths.state / "init.pid").unlink()
        (sandbox.paths.state / "init.ready").unlink()
        sandbox.start()
        wait_for("the orphan's end", lambda: not Path(f"/proc/{orphan}").exists(), seconds=60)
        half = sandbox.pid()
        # Killed after that, before the mounts were made.
        (sandbox.paths.state / "init.ready").unlink()
        sandbox.start()
        assert sandbox.pid() not in (None, half)
        assert "overlay" in sandbox.run(["stat", "--file-system", "--format=%T", "/usr"])
    finally:
        sandbox.stop()
    assert list(CGROUPS.glob(f"*/{NAME}")) == []


def test_a_sandbox_in_another_cache_leaves_this_one_alive(
    sandbox: Sandbox, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.daemon("sleeper", ["sleep", "60"])
    other = empty_cache / "other"
    other.mkdir()
    for each in ("tools", "bin"):
        (other / each).symlink_to(empty_cache / each)
    monkeypatch.setenv("VLLM_EVAL_CACHE", str(other))
    second = Sandbox(Paths.of_this_clone())
    try:
        second.start()
    finally:
        second.stop()
    assert sandbox.alive("sleeper")


def test_a_name_belongs_to_one_clone_and_one_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "link").symlink_to("cache")

    def name(cache: str) -> str:
        monkeypatch.setenv("VLLM_EVAL_CACHE", cache)
        return Paths.of_this_clone().name

    monkeypatch.chdir(tmp_path)
    one = name(str(tmp_path / "cache"))
    assert one == name("cache") == name(str(tmp_path / "link")), "one folder, however it is written"
    assert one != name(str(tmp_path / "other"))
    monkeypatch.setattr(paths, "REPOSITORY", tmp_path)
    assert one != name(str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"cpu/tasks": ""}, "there is no memory cgroup: boot with `cgroup_enable=memory`"),
        ({"memory/tasks": ""}, None),
        (
            {"cgroup.controllers": "cpu cpuset pids", "cgroup.subtree_control": "cpu cpuset pids"},
            "there is no memory cgroup: boot with it, or let this container have it",
        ),
        (
            {"cgroup.controllers": "cpu cpuset io memory pids", "cgroup.subtree_control": "cpu pids"},
            "echo '+cpuset +memory' > ",
        ),
        ({"cgroup.controllers": "cpu cpuset memory pids", "cgroup.subtree_control": "cpu cpuset memory pids"}, None),
    ],
)
def test_cgroups_that_kubelet_needs_and_lacks_are_named_with_the_cure(
    files: dict[str, str], said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for module in (doctor, namespaces):
        monkeypatch.setattr(module, "CGROUPS", tmp_path)
    found = [each for each in doctor.problems(Paths(tmp_path, "test")) if "cgroup" in each]
    assert len(found) == (said is not None)
    assert said is None or said in found[0]
