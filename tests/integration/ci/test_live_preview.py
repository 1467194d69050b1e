"""What the preview's scripts rely on in the program, shown with the real engine, the program itself and an API server.

The other tests' records are made without the engine (tests/support/ci/previews.py); this one is the engine's own.
"""

import subprocess
import sys
from pathlib import Path

from tests.support import program
from tests.support.apiserver import CONTEXT, running_apiserver
from tests.support.ci.git_world import World
from tests.support.ci.github_server import github_server
from tests.support.ci.pull_request import SCRIPTS, PullRequest
from tests.support.clusters import install_operator_kinds
from tests.support.project import Project
from workbench.sandbox import chart


def test_first_preview_of_the_dev_stack_says_what_it_will_run(tmp_path: Path) -> None:
    folder, data = tmp_path / "project", tmp_path / "server"
    folder.mkdir()
    data.mkdir()
    # A preview asks the chart's repository, and no test goes out.
    settings = program.stack_file("dev") | {
        "cluster": {"context": CONTEXT},
        "argocd": {"chart": str(chart.write(tmp_path))},
    }
    with github_server() as github, running_apiserver(data) as server:
        install_operator_kinds(server, "prometheusrules", "servicemonitors")
        project = Project(folder, "dev", settings, server.kubeconfig)
        request = PullRequest(World(tmp_path), github)
        command = [sys.executable, str(SCRIPTS / "pulumi_stack.py"), "preview", "--stack", "dev"]
        command += ["--output", str(request.records / "dev.json")]
        environment = project.environment
        previewed = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
        done = request.run("dev")

        assert previewed.returncode == 0, previewed.stderr
        assert done.returncode == 0, request.comment
        assert "**This runs 1 model x 2 tasks** for the first time." in request.comment
        assert "Job evalchemy  (the evaluation)" in request.comment
        assert "Application vllm-evalchemy-job" in request.comment
        assert "+kind: CronJob" in request.comment
        assert "+kind: Job" not in request.comment, "Argo CD must not emit the Job that Pulumi owns"
