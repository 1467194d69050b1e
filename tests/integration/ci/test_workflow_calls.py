"""The scripts that call GitHub and Pulumi for a job."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.ci.github_server import REPOSITORY as GITHUB_REPOSITORY
from tests.support.ci.github_server import TOKEN, GitHubServer, github_server
from tests.support.ci.pull_request import SCRIPTS
from tests.support.engine import environment
from workbench.paths import REPOSITORY


def start_workflow(server: GitHubServer, *words: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": "", "GITHUB_API_URL": server.url, "GITHUB_REPOSITORY": GITHUB_REPOSITORY, "GITHUB_TOKEN": TOKEN}
    command = [sys.executable, "-W", "error", "-m", "workbench.ci.start_workflow", *words]
    return subprocess.run(command, env=env, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_deployment_is_started_after_a_write_back() -> None:
    with github_server() as server:
        done = start_workflow(server, "deploy.yml", "--ref", "main", "--input", "stack=dev")
        assert done.returncode == 0, done.stderr
        assert server.dispatches == [("deploy.yml", {"ref": "main", "inputs": {"stack": "dev"}})]
        server.refuse = 403
        assert start_workflow(server, "deploy.yml").returncode == 1


def test_records_come_from_a_preview(tmp_path: Path) -> None:
    """The engine itself answers here: a stack that does not exist is a failed preview, with the engine's words."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: x\nruntime: yaml\n", encoding="utf-8")
    (tmp_path / "state").mkdir()
    output = tmp_path / "out" / "dev.json"
    env = environment(tmp_path, None)
    command = [sys.executable, str(SCRIPTS / "pulumi_stack.py"), "preview", "--stack", "dev", "--output", str(output)]

    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    record = json.loads(output.read_text(encoding="utf-8"))
    assert record["plan"] is None
    assert record["exit_code"] != 0
    assert "no stack named 'dev' found" in record["log"]

    without = {name: value for name, value in env.items() if name != "PULUMI_BACKEND_URL"}
    command[2:] = ["up", "--stack", "dev"]
    refused = subprocess.run(command, cwd=project, env=without, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "PULUMI_BACKEND_URL" in refused.stderr
