"""The commands that people are told to type exist."""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.ports import free_port
from workbench.options import parse
from workbench.paths import REPOSITORY

# Where people read what they may type.
TEXTS: Final = [
    *REPOSITORY.glob("*.md"),
    *(REPOSITORY / "docs").rglob("*.md"),
    *(REPOSITORY / ".github").rglob("*.yml"),
    *(REPOSITORY / "workbench").rglob("*.py"),
]


def test_every_make_command_in_docs_workflows_and_messages_does_something() -> None:
    command = re.compile(r"(?:`|^ *|run: |\$ )make ([a-z][a-z-]+)\b(?=[`\s;]|$)", re.MULTILINE)
    told = {target for path in TEXTS for target in command.findall(path.read_text(encoding="utf-8"))}
    done = subprocess.run(
        ["make", "--dry-run", *sorted(told)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # As of a target that has a folder's name and is not phony.
    assert "is up to date" not in done.stdout


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (["preview"], "make preview STACK=dev"),
        (["preview", "STACK=dev", "CONTEXT=mine"], "takes no CONTEXT: leave it out"),
        (["render"], "STACK is not set: make render STACK=prod"),
        (["render", "STACK=pord"], "STACK is 'pord', but there is no Pulumi.pord.yaml"),
    ],
)
def test_what_is_missing_or_would_be_ignored_is_refused(words: list[str], cure: str) -> None:
    # What is exported is nobody's option.
    exported = {**os.environ, "STACK": "prod"}
    done = subprocess.run(["make", *words], cwd=REPOSITORY, env=exported, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert cure in done.stderr


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A copy of what `make up` begins with, which every user may read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        shutil.copy(REPOSITORY / "Makefile", folder)
        for needed in ("workbench", "components"):
            shutil.copytree(REPOSITORY / needed, Path(folder) / needed, ignore=shutil.ignore_patterns("modules"))
        yield Path(folder)


def test_up_by_another_user_than_root_installs_nothing(elsewhere: Path) -> None:
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    # The machine's own Python: that of a developer may lie in a home that nobody else may enter.
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*nobody, "make", "up"]
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.startswith("error: this user is not root")
    assert not (elsewhere / ".venv").exists()
    # A cluster of one's own needs no root, if it is meant.
    for words, code in ((["CONTEXT=mine"], 0), ([], 2)):
        command = [*nobody, "make", "root", *words]
        done = subprocess.run(
            command, cwd=elsewhere, env={**environment, "CONTEXT": "mine"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr


VARIABLES: Final = {
    "CONTEXT": "context",
    "STACK": "stack",
    "STANDINS": "standins",
    "MODEL_ENDPOINT": "model_endpoint",
    "MODEL": "model",
    "MODEL_TAG": "model_tag",
    "LIMIT": "limit",
    "SERVER": "server",
    "UI_PORTS": "ports",
}


def recipe(*words: str, **environment: str) -> list[str]:
    """Return the words that `make up` would hand to the workbench."""
    command = ["make", "--dry-run", "up", *words]
    done = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return shlex.split(done.stdout.splitlines()[-1].partition("workbench ")[2])


def test_what_is_typed_after_make_becomes_an_option_and_what_is_exported_does_not() -> None:
    typed = [f"{name}=it's {name}" for name in VARIABLES]
    options = parse(recipe(*typed))
    assert {field: getattr(options, field) for field in VARIABLES.values()} == {
        field: f"it's {name}" for name, field in VARIABLES.items()
    }
    assert parse(recipe(**dict.fromkeys(VARIABLES, "x"))) == parse(["up"])


def test_packages_that_cannot_be_had_name_the_cure_and_leave_no_environment_that_looks_whole(tmp_path: Path) -> None:
    refused = {"PIP_INDEX_URL": f"http://127.0.0.1:{free_port()}/simple", "PIP_RETRIES": "0", "PIP_EXTRA_INDEX_URL": ""}
    command = ["make", "venv", f"VENV={tmp_path}/venv"]
    done = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, **refused}, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode != 0
    assert "error: the Python packages could not be installed: name a package index" in done.stderr
    assert not (tmp_path / "venv/.complete").exists()
