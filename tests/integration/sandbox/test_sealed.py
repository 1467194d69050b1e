"""A test that writes outside of its folders is found, and what it wrote is not there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.kernel import NO_MOUNTS, can_mount
from tests.support.pushgateway import running_pushgateway
from workbench.paths import REPOSITORY

needs_root = pytest.mark.skipif(os.geteuid() != 0 or not can_mount(), reason=NO_MOUNTS)


def run(script: str) -> "subprocess.CompletedProcess[str]":
    # Its layer may lie above that of the suite's own: deep enough for files, too deep for a sandbox.
    code = "import sys; from tests.support import sealed; sealed.possible = lambda: True; sys.exit(sealed.main())"
    command = [sys.executable, "-c", code, "sh", "-ec", script]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120)


@needs_root
def test_files_written_changed_and_removed_outside_are_listed_and_the_machines_stay() -> None:
    before = Path("/etc/passwd").read_bytes()
    # Where Debian's services keep their data, whether they are installed or not.
    data = "/var/lib/prometheus/vllm-eval-test.data"
    made = f"mkdir /var/lib/vllm-eval-test; touch {data}; echo a > /etc/vllm-eval-test"
    done = run(f"{made}; echo more >> /etc/passwd; rm /etc/group")
    assert done.returncode == 1
    listed = [line.strip() for line in done.stdout.splitlines()[1:]]
    assert listed == ["/etc/group", "/etc/passwd", "/etc/vllm-eval-test", data, "/var/lib/vllm-eval-test"]
    assert Path("/etc/passwd").read_bytes() == before
    assert Path("/etc/group").exists()
    assert not Path("/etc/vllm-eval-test").exists()


@needs_root
def test_the_repository_and_temporary_folders_are_the_machines_own(tmp_path: Path) -> None:
    done = run(f"pwd; echo kept > {tmp_path}/file; exit 7")
    assert (done.returncode, done.stdout) == (7, f"{REPOSITORY}\n")
    assert (tmp_path / "file").read_text() == "kept\n"


def test_a_tests_gateway_keeps_its_series_in_no_file_of_the_machine() -> None:
    """Debian's build has one by default, which its service keeps its own series in."""
    with running_pushgateway() as gateway:
        assert gateway.flags()["persistence.file"] == ""
