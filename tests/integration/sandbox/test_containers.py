"""In a container that forbids namespaces, as CI's are without --privileged, the tests that need them are skipped."""

import subprocess
import sys

from tests.support.kernel import NO_MOUNTS, NO_NAMESPACES, needs_namespaces
from workbench.paths import REPOSITORY

# What Docker takes from a container's root.
FORBID = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
PROBE = "from tests.support.kernel import can_mount, can_unshare; print(can_unshare(), can_mount())"


def forbidden(*words: str) -> str:
    """Return what a Python says as such a root."""
    done = subprocess.run(
        [*FORBID, sys.executable, *words], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_namespaces
def test_a_root_that_may_not_is_seen() -> None:
    assert forbidden("-c", PROBE).split() == ["False", "False"]


@needs_namespaces
def test_tests_that_need_namespaces_are_skipped_with_the_reason_and_the_others_run() -> None:
    files = [
        *(f"tests/integration/sandbox/test_{name}.py" for name in ("ui", "cgroups")),
        "tests/integration/eval/test_faults_disk.py",
    ]
    said = forbidden("-m", "pytest", "-q", "-p", "no:cacheprovider", *files)
    assert NO_NAMESPACES in said
    assert NO_MOUNTS in said
    assert " passed" in said
