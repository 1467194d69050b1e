"""The sandbox survives its users: killed at every stage of `make up`, and two clones of the project at once.

Each test runs the commands as `make` does, in clones of its own. `make test-all` runs them.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.traces import snapshot
from workbench.paths import REPOSITORY, Paths
from workbench.sandbox.steps import STEPS
from workbench.shell import run

pytestmark = pytest.mark.slow

SEED: Final = 20261124
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
UP_SECONDS: Final = 1200.0
LAYOUT: Final = "from workbench.paths import Paths; print(Paths.of_this_clone().name)"


class Clone:
    """A clone of the project, as somebody has it who has run `make venv`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        run(["git", "clone", "--quiet", REPOSITORY, folder])
        changed = ["git", "ls-files", "--modified", "--others", "--exclude-standard"]
        for name in run(changed, cwd=REPOSITORY).splitlines():
            if (REPOSITORY / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, folder / name)
        self.paths = Paths(cache=Paths.of_this_clone().cache, name=self._python("-c", LAYOUT).strip())

    def start(self, log: Path) -> "subprocess.Popen[str]":
        """Start `make up` with few items, its output in a file."""
        with log.open("w") as output:
            return subprocess.Popen(
                # Ctrl-C must reach it also where the tests run in the background, which ignores it.
                ["env", "--default-signal=INT", sys.executable, "-m", "workbench", "up", "--limit", "10"],
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,  # a group of its own, as a shell gives it
            )

    def down(self) -> None:
        """Run `make down`."""
        run(["python3", "-m", "workbench", "down"], cwd=self.folder)

    def _python(self, *words: str) -> str:
        return run([sys.executable, *words], cwd=self.folder)


@pytest.fixture
def clones(tmp_path: Path) -> Iterator[tuple[Clone, Clone]]:
    """Two clones, whose sandboxes are gone at the end, whatever happens."""
    made = Clone(tmp_path / "one"), Clone(tmp_path / "two")
    try:
        yield made
    finally:
        for each in made:
            if each.paths.logs.exists():  # pytest keeps the folder of a test that failed
                shutil.copytree(each.paths.logs, tmp_path / f"{each.folder.name}-logs")
            each.down()


def test_two_clones_at_once_print_a_table_each(clones: tuple[Clone, Clone], tmp_path: Path) -> None:
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    running = [clone.start(log) for clone, log in zip(clones, logs, strict=True)]
    codes = [each.wait(timeout=UP_SECONDS) for each in running]
    for code, log in zip(codes, logs, strict=True):
        assert code == 0, log.read_text()[-3000:]
        assert "gemma-3-270m" in table(log)
    assert clones[0].paths.name != clones[1].paths.name
    clones[0].down()
    assert not clones[0].paths.state.exists()
    # The other one does not notice.
    status = run([sys.executable, "-m", "workbench", "status"], cwd=clones[1].folder)
    assert "gemma-3-270m" in status


def test_up_goes_on_after_a_kill_at_every_stage(clones: tuple[Clone, Clone], tmp_path: Path) -> None:
    clone, log = clones[0], tmp_path / "up.log"
    before = snapshot(clone.paths)
    choose = random.Random(SEED)  # noqa: S311 -- reproducible, not secret
    kills = [(title, choose.choice(SIGNALS), choose.random() < 0.5, choose.uniform(0, 3)) for title, _ in STEPS]
    # The update of the stack leaves the most behind: both ways at least.
    kills += [("pulumi up", signal.SIGKILL, True, 2.0), ("pulumi up", signal.SIGKILL, False, 4.0)]
    for title, kind, whole, delay in kills:
        process = clone.start(log)
        wait_for_stage(process, log, title)
        time.sleep(delay)
        print(f"  {kind.name} to {'all' if whole else 'one'} {delay:.1f} s after the begin of: {title}", flush=True)
        if process.poll() is None:
            (os.killpg if whole else os.kill)(process.pid, kind)
        process.wait(timeout=60)
        if kind == signal.SIGINT and process.returncode not in (0, -kind):
            assert "run `make up` again to go on" in log.read_text()
    process = clone.start(log)
    assert process.wait(timeout=UP_SECONDS) == 0, log.read_text()[-3000:]
    assert "gemma-3-270m" in table(log)
    clone.down()
    after = snapshot(clone.paths)
    assert after == before


def wait_for_stage(process: "subprocess.Popen[str]", log: Path, title: str) -> None:
    """Wait until a stage has begun, or all of them are over."""
    deadline = time.monotonic() + UP_SECONDS
    while f"• {title} …" not in log.read_text() and process.poll() is None:
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.05)
    assert process.poll() in (None, 0), log.read_text()[-3000:]


def table(log: Path) -> str:
    """Return what `make up` printed after its last stage."""
    return log.read_text().rpartition("evaluation: ")[2]
