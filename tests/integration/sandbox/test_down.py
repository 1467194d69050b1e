"""`make down` ends everything, whatever state the clone, the sandbox and its `make up` are in."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from workbench.paths import REPOSITORY, Paths
from workbench.sandbox import down
from workbench.sandbox.namespaces import LOCK, Sandbox
from workbench.shell import WorkbenchError, run, wait_for

UP: Final = """\
import signal, sys, time
from workbench.paths import Paths
from workbench.sandbox import steps
if "deaf" in sys.argv:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
steps.STEPS = (("prerequisites", lambda _: None), ("tools", lambda _: time.sleep(300)))
steps.up(Paths.of_this_clone())
"""


def test_down_needs_no_package_and_no_virtual_environment(sandbox: Sandbox) -> None:
    # Without site-packages, as while they are being installed.
    said = run(["env", "PYTHONNOUSERSITE=1", "python3", "-S", "-m", "workbench", "down"], cwd=REPOSITORY)
    assert "the sandbox is gone" in said
    assert sandbox.pid() is None
    assert not sandbox.paths.state.exists()
    for target in ("down", "clean"):
        recipe = run(["make", "--dry-run", target, "VENV=/nowhere"], cwd=REPOSITORY)
        assert f"python3 -m workbench {target}" in recipe
        assert "/nowhere/bin" not in recipe


@pytest.mark.parametrize("deaf", [False, True])
def test_down_ends_an_up_that_is_at_work(deaf: bool, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Paths.of_this_clone()
    if deaf:
        monkeypatch.setattr(down, "PATIENCE", 1.0)
    words = ["env", "--default-signal=INT", sys.executable, "-c", UP, *(["deaf"] if deaf else [])]
    with subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as up:
        assert up.stdout
        assert any("tools" in line for line in up.stdout)
        with pytest.raises(WorkbenchError, match=r"interrupted|another `make up` of this clone is at work"):
            run([sys.executable, "-c", UP], cwd=REPOSITORY)
        down.down(paths)
        assert up.wait(timeout=60) == (-signal.SIGKILL if deaf else up.returncode)
    assert not paths.state.exists()


def test_down_takes_no_notice_of_the_number_of_an_up_that_is_over(empty_cache: Path) -> None:
    paths = Paths.of_this_clone()
    paths.state.mkdir(parents=True)
    (paths.state / LOCK).write_text(str(os.getpid()))
    down.down(paths)
    assert not paths.state.exists()


def test_a_sandbox_of_before_a_restart_of_the_machine_begins_anew(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    database, lock = sandbox.paths.state / "etcd/member", sandbox.paths.state / LOCK
    database.parent.mkdir()
    database.touch()
    lock.touch()
    sandbox._kill()
    sandbox.start()
    assert database.exists()
    assert capsys.readouterr().out == ""
    sandbox._kill()
    # Cut short, too: the file itself may not have reached the disk.
    (sandbox.paths.state / "boot_id").write_text("")
    sandbox.start()
    assert not database.exists()
    assert lock.exists()
    assert "this machine was started anew" in capsys.readouterr().out
    assert sandbox.run(["echo", "up"]) == "up\n"


def test_the_end_of_what_holds_the_lock_is_waited_for(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Paths.of_this_clone()
    paths.state.mkdir(parents=True)
    monkeypatch.setattr(down, "PATIENCE", 0.3)
    script = f"import fcntl, time; f = open('{paths.state / LOCK}', 'a'); fcntl.flock(f, fcntl.LOCK_EX)"
    script += "; print(1, file=f, flush=True); print('held', flush=True); time.sleep(300)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout
            assert holder.stdout.readline() == "held\n"
            with monkeypatch.context() as patch:
                patch.setattr("os.kill", lambda pid, kind: None)
                with pytest.raises(WorkbenchError, match="process 1, a `make up`, does not end"):
                    down.down(paths)
        finally:
            holder.kill()

    def ended() -> bool:
        down.down(paths)
        return True

    wait_for("the lock", ended, seconds=10)
