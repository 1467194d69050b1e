"""The commands that people are told to type exist."""

import os
import re
import subprocess
from pathlib import Path
from typing import Final

from tests.support.ports import free_port

ROOT: Final = Path(__file__).resolve().parents[4]
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
