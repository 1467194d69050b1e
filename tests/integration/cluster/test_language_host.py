"""The language host: what it says of a program that fails, and how it ends."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.engine import Done, Engine
from workbench.cluster.stack import LANGUAGE
from workbench.shell import wait_for

ENVIRONMENT = {**os.environ, "VLLM_EVAL_PYTHON": sys.executable}
HOST = LANGUAGE / "pulumi-language-python"


class Stack(Engine):
    """A stack without resources, in a backend of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, None, timeout=120)

    def create(self) -> None:
        (self.folder / "state").mkdir()
        (self.folder / "Pulumi.yaml").write_text(yaml.safe_dump({"name": "small", "runtime": {"name": "python"}}))
        self.run(["pulumi", "--non-interactive", "stack", "init", "test"], check=True)

    def preview(self, program: str) -> Done:
        (self.folder / "__main__.py").write_text(f"import pulumi\n{program}\n")
        return self.run(
            ["pulumi", "--non-interactive", "--color=never", "preview", "--stack=test", "--diff"], check=False
        )


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    Stack(folder).create()
    return folder


@pytest.fixture
def stack(tmp_path: Path, empty: Path) -> Stack:
    shutil.copytree(empty, tmp_path, dirs_exist_ok=True)
    return Stack(tmp_path)


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ('raise SystemExit("settings: a and b are missing")', "error: settings: a and b are missing\n"),
        ("raise SystemExit(3)", "error: the program ended with exit code 3\n"),
        ('raise pulumi.RunError("settings: c is wrong")', "error: settings: c is wrong\n"),
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'\n"),
        ("pulumi.Output.from_input({}).apply(lambda value: value['key'])", "KeyError: 'key'\n"),
    ],
)
def test_what_is_wrong_with_the_program_is_told_once(stack: Stack, program: str, told: str) -> None:
    done = stack.preview(program)
    assert done.code != 0
    assert done.out.count(told) == 1, done.out
    assert ("Traceback" in done.out) == ("Error: " in told)
    # Where it went wrong is the program, not what started it.
    assert "runpy" not in done.out
    assert done.out.count("__main__.py") == done.out.count("Traceback")


@pytest.mark.parametrize("program", ["pass", "raise SystemExit", "raise SystemExit(0)"])
def test_a_program_that_ends_well_is_no_error(stack: Stack, program: str) -> None:
    done = stack.preview(program)
    assert done.code == 0, done.out


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_without_a_word(ending: signal.Signals) -> None:
    process = subprocess.Popen(
        [HOST, "127.0.0.1:1"], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert int(process.stdout.readline())
    process.send_signal(ending)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0


def test_it_ends_with_an_engine_that_was_killed() -> None:
    engine = subprocess.Popen(
        ["sh", "-c", '"$0" 127.0.0.1:1 & echo $!; wait', HOST], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert engine.stdout
    status = Path(f"/proc/{int(engine.stdout.readline())}/stat")
    assert int(engine.stdout.readline())
    engine.kill()
    engine.communicate(timeout=10)
    wait_for("its end", lambda: _ended(status), seconds=10)


def _ended(status: Path) -> bool:
    try:
        # What ended may be there as a zombie, until the machine's init looks.
        return status.read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
