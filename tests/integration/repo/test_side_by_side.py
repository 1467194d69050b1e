"""`make test-unit` runs every unit test, tells of every failure, and hands an interrupt on."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from tests import side_by_side
from workbench.shell import wait_for

ROOT: Final = Path(__file__).resolve().parents[3]
SCRIPT: Final = """\
import sys
from tests import side_by_side
side_by_side.PARTS = tuple((path, "-p", "no:cacheprovider") for path in sys.argv[1:])
sys.exit(side_by_side.main())
"""


def start(*parts: Path, background: bool = False) -> "subprocess.Popen[str]":
    """Start it as a shell does, which lets what it starts in the background ignore Ctrl-C."""
    interrupts = "--ignore-signal=INT" if background else "--default-signal=INT"
    command = ["env", interrupts, sys.executable, "-c", SCRIPT, *map(str, parts)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_the_parts_are_everything() -> None:
    (one,), (other,) = side_by_side.PARTS
    assert other == f"--ignore={one}"


def test_a_failure_in_either_part_is_told_and_fails(tmp_path: Path) -> None:
    good, bad = tmp_path / "test_good.py", tmp_path / "test_bad.py"
    good.write_text("def test_good() -> None:\n    pass\n")
    bad.write_text("def test_bad() -> None:\n    assert False\n")
    for parts in ((good, bad), (bad, good)):
        with start(*parts) as process:
            out = process.communicate(timeout=60)[0]
        assert process.returncode == 1
        assert "1 passed" in out
        assert "test_bad" in out


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_cleans_up(tmp_path: Path, ending: signal.Signals) -> None:
    file = tmp_path / "test_slow.py"
    file.write_text(
        "import time\nfrom pathlib import Path\n\nimport pytest\n\nHERE = Path(__file__).parent\n\n\n"
        "@pytest.fixture\ndef server():\n    (HERE / 'up').touch()\n    yield\n"
        "    time.sleep(2)\n    (HERE / 'down').touch()\n\n\n"
        "def test_slow(server):\n    time.sleep(60)\n"
    )
    with start(file, background=ending == signal.SIGTERM) as process:
        wait_for("the test", (tmp_path / "up").exists, seconds=120)
        process.send_signal(ending)
        time.sleep(1)
        process.send_signal(ending)  # as people do who see nothing happen
        process.communicate(timeout=120)
    assert process.returncode != 0
    assert (tmp_path / "down").exists()
