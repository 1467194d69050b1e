"""How a plugin ends: quietly by a signal, and by itself when its engine was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.engine import PLUGINS

ENVIRONMENT = {**os.environ, "VLLM_EVAL_PYTHON": sys.executable}
NAMES = ["pulumi-language-python", "pulumi-resource-kubernetes"]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", NAMES)
def test_a_signal_ends_it_without_a_word(name: str, ending: signal.Signals) -> None:
    process = subprocess.Popen(
        [PLUGINS / name, "127.0.0.1:1"], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert int(process.stdout.readline())
    process.send_signal(ending)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize("name", NAMES)
def test_it_ends_with_an_engine_that_was_killed(name: str) -> None:
    engine = subprocess.Popen(
        ["sh", "-c", '"$0" 127.0.0.1:1 & echo $!; wait', PLUGINS / name],
        env=ENVIRONMENT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert engine.stdout
    status = Path(f"/proc/{int(engine.stdout.readline())}/stat")
    assert int(engine.stdout.readline())
    engine.kill()
    engine.communicate(timeout=10)
    deadline = time.monotonic() + 10
    # What ended may be there as a zombie, until the machine's init looks.
    while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline, f"{name} outlives its engine"
        time.sleep(0.1)
