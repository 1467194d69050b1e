"""The commands of the runner's README, run as they are printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.openai_server import OpenAIServer, Plan, load_answers, running
from tests.support.pushgateway import Pushgateway
from workbench.paths import REPOSITORY

README = (REPOSITORY / "eval" / "evalchemy" / "README.md").read_text(encoding="utf-8")
# A third block needs a test of its own.
SESSION, PLAIN = [
    "\n".join(line.strip() for line in block.splitlines())
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
]
# Made once for all tests, and the suite itself runs in it.
ELSEWHERE = "make venv\n"


def run_block(block: str, folder: Path, places: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run one block in a folder that looks like the repository's root; any failing line ends it."""
    (folder / "eval").symlink_to(REPOSITORY / "eval")
    (folder / ".venv").symlink_to(sys.prefix)
    for printed, real in places.items():
        block = block.replace(printed, real)
    # The second block is for the first one's shell.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {"PATH": path, "HOME": str(folder / "home")}
    offline = {"HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    return subprocess.run(
        ["bash", "-euc", block.replace(ELSEWHERE, "")],
        cwd=folder, env={**environ, **offline}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def server() -> OpenAIServer:
    """A model of the name that the README has, which answers 70 % of our items."""
    answers = load_answers(sorted((REPOSITORY / "eval" / "evalchemy" / "data").glob("*.jsonl")))
    return OpenAIServer(answers, Plan(accuracy=0.7, models=("my-model",)))


def test_the_laptops_session(tmp_path: Path, server: OpenAIServer, pushgateway: Pushgateway) -> None:
    assert ELSEWHERE in SESSION
    with running(server) as url:
        places = {"http://localhost:8000/v1": url, "http://localhost:9091": pushgateway.url}
        done = run_block(SESSION, tmp_path, places)
    assert done.returncode == 0, done.stderr
    assert "custom_task_1: 500 items; own targets score 1.000" in done.stdout
    assert "is now the baseline of my-model in this folder" in done.stdout
    assert "published my-model" in done.stdout
    # v2 against the accepted v1, in the run itself and in `compare`.
    assert len(re.findall(r"^custom_task_1 .* same", done.stdout, re.MULTILINE)) == 2
    assert len(server.requests) == 240
    runs = [path.name for path in (tmp_path / "results" / "runs" / "default" / "my-model").iterdir()]
    assert len(runs) == 2


def test_plain_lm_eval_runs_our_task_from_any_folder(tmp_path: Path, server: OpenAIServer) -> None:
    with running(server) as url:
        done = run_block(PLAIN, tmp_path, {"http://localhost:8000/v1": url})
    assert done.returncode == 0, done.stderr
    assert re.search(r"\|custom_task_1\|.*exact_match", done.stdout)
    assert len(server.requests) == 10
