"""The commands that people are told to type exist."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from tests.support.ports import free_port
from workbench.cluster import context, requests
from workbench.layout import Layout
from workbench.sandbox import ui
from workbench.shell import wait_for

ROOT: Final = Path(__file__).resolve().parents[3]
TARGETS: Final = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
TEXTS: Final = [
    *ROOT.glob("README*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / ".github").rglob("*.yml"),
    *(ROOT / "workbench").rglob("*.py"),
]


def test_every_make_command_in_docs_workflows_and_messages_is_a_target() -> None:
    for path in TEXTS:
        told = re.findall(r"(?:`|^ *|run: |\$ )make ([a-z][a-z-]+)\b(?=[`\s;]|$)", path.read_text(), re.MULTILINE)
        assert set(told) <= TARGETS, path


def test_both_readmes_name_the_same_commands_and_the_one_that_runs_every_test() -> None:
    english, korean = (
        set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("README.md", "README.ko.md")
    )
    assert english == korean
    assert "test-all" in english


def told(command: str) -> list[dict[str, str]]:
    """Return the variables of each such make command in the docs."""
    texts = "\n".join(path.read_text() for path in TEXTS)
    found = re.findall(rf"(?:^|`)make {command}((?: [A-Z_]+=[^\s`]+)+)(?=[`\s])", texts, re.MULTILINE)
    return [dict(word.split("=", 1) for word in each.split()) for each in found]


def test_the_variables_of_documented_commands_are_taken(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "test")
    commands = [*told("up"), *told("doctor")]
    assert len(commands) >= 6
    for each in [variables for variables in commands if "…" not in str(variables)]:
        assert set(each) <= {"CONTEXT", "STACK", "MODEL_ENDPOINT", "MODEL", "MODEL_TAG", "LIMIT", "STANDINS"}, each
        requests.settings(each)
        target = context.of(each, layout)
        assert target is None or target.name == each["CONTEXT"]
    assert [[page.port for page in ui.chosen(each)] for each in told("ui")] == [[18080, 19090, 19093]] * len(told("ui"))
    assert told("ui")


def test_every_described_target_is_phony_or_a_file() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split())  # type: ignore[index] # it is there
    assert set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE)) <= phony


def test_a_preview_without_a_stack_says_how_to_name_one() -> None:
    done = subprocess.run(["make", "preview"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "make preview STACK=dev" in done.stderr


def test_up_by_another_user_than_root_installs_nothing(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["make", "up", f"VENV={tmp_path}/venv"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.startswith("error: this user is not root")
    assert not (tmp_path / "venv").exists()
    # A cluster of one's own needs no root, if it is meant.
    for words, code in ((["CONTEXT=mine"], 0), ([], 2)):
        command = ["make", "root", *words]
        done = subprocess.run(
            command, cwd=ROOT, env={**environment, "CONTEXT": "mine"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == code


def test_packages_that_cannot_be_had_name_the_cure_and_leave_no_environment_that_looks_whole(tmp_path: Path) -> None:
    refused = {"PIP_INDEX_URL": f"http://127.0.0.1:{free_port()}/simple", "PIP_RETRIES": "0", "PIP_EXTRA_INDEX_URL": ""}
    command = ["make", "venv", f"VENV={tmp_path}/venv"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **refused}, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode != 0
    assert "error: the Python packages could not be installed: name a package index" in done.stderr
    assert not (tmp_path / "venv/.complete").exists()


def test_the_stages_of_make_test_have_budgets_that_fit_an_hour() -> None:
    (stages,) = re.findall(r"tests/run\.py (.*)", (ROOT / "Makefile").read_text())
    groups = [dict(each.split(":") for each in stage.split(",")) for stage in stages.split()]
    assert {target for group in groups for target in group} <= TARGETS
    assert sum(max(map(int, group.values())) for group in groups) <= 3600


def runner_of(folder: Path, makefile: str) -> list[str]:
    """Return the command that runs a copy of `tests/run.py` on a makefile."""
    (folder / "tests").mkdir()
    (folder / "Makefile").write_text(makefile)
    return ["python3", str(shutil.copy(ROOT / "tests/run.py", folder / "tests/run.py"))]


def test_the_times_of_stages_are_printed_with_what_went_over_budget_or_failed(tmp_path: Path) -> None:
    script = runner_of(tmp_path, "quick:\n\t@true\nslow:\n\t@sleep 2\nbad:\n\t@false\n")
    done = subprocess.run([*script, "quick:600", "slow:1", "bad", "quick"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    report = done.stdout.partition("=== make bad\n")[2]
    assert re.search(
        r"\d s  quick  of 600 s\n +\d s  slow  of 1 s: over budget\n +\d s  bad\n +bad failed\n", report
    ), report
    assert "=== make quick" not in report, "went on after a failure"


def test_targets_side_by_side_take_the_time_of_one_and_keep_their_output_apart(tmp_path: Path) -> None:
    # Each waits for the other, so that one after the other they would never end.
    meet = "@touch $@.up; until [ -e $(OTHER).up ]; do sleep 0.1; done; sleep 2"
    lines = ["one: OTHER = two", "two: OTHER = one", f"one:\n\t{meet}", f"two:\n\t{meet}; nice"]
    script = runner_of(tmp_path, "\n".join([*lines, ""]))
    done = subprocess.run([*script, "one,two:1"], capture_output=True, text=True, check=True, timeout=60)
    assert re.search(r"=== make two printed\n19\n", done.stdout), done.stdout
    assert re.search(r"\d s  one\n +\d s  two  of 1 s: over budget\n +\d s  in all", done.stdout), done.stdout


@pytest.mark.parametrize("failing", ["one", "two"])
def test_a_failure_side_by_side_fails_when_both_have_ended(tmp_path: Path, failing: str) -> None:
    script = runner_of(tmp_path, f"one two:\n\t@sleep 1; test $@ != {failing}\nthree:\n\t@true\n")
    done = subprocess.run([*script, "one,two", "three"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"{failing} failed" in done.stdout
    assert done.stdout.count(" failed") == 1
    assert "three" not in done.stdout


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_reaches_each_process_once_however_often_it_comes(tmp_path: Path, ending: signal.Signals) -> None:
    program = "import signal, sys, time\ntold = []\nsignal.signal(signal.SIGINT, lambda *_: told.append('told'))\n"
    # Until it is told, and long enough after it to be told twice.
    program += "open(sys.argv[1], 'w').close()\nwhile not told:\n    time.sleep(0.1)\n"
    program += "for _ in range(20):\n    time.sleep(0.1)\nprint(*told)\n"
    (tmp_path / "program.py").write_text(program)
    script = runner_of(tmp_path, f"one two:\n\t@echo making $@; {sys.executable} program.py $@.up > $@.told\n")
    command = ["env", "--ignore-signal=INT", *script, "one,two"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        wait_for("both", lambda: all((tmp_path / f"{name}.up").exists() for name in ("one", "two")), seconds=60)
        process.send_signal(ending)
        time.sleep(1)
        process.send_signal(ending)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "=== make two printed\nmaking two\n" in out, "what it has printed until then is lost"
    assert [(tmp_path / f"{name}.told").read_text() for name in ("one", "two")] == ["told\n", "told\n"]
