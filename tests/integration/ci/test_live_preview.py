"""What the preview's scripts rely on in the program, shown with the real engine, the program itself and an API server.

The records in `data/` are of one day; this notices when the program no longer says what they say.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.support.ci.git_world import REPOSITORY, World
from tests.support.ci.github_server import github_server
from tests.support.ci.pull_request import SCRIPTS, PullRequest
from tests.support.engine import environment
from workbench.sandbox import chart

PROGRAM: Final = ("__main__.py", "components", "monitoring", "k8s", "eval", "Pulumi.yaml", "Pulumi.dev.yaml")
# Prints kubectl's arguments, then holds the server until its standard input ends.
SERVE: Final = (
    "import json, pathlib, sys\n"
    "from workbench.ci.server_dry_run import api_server\n"
    "with api_server(pathlib.Path(sys.argv[1])) as kubectl:\n"
    "    print(json.dumps(kubectl), flush=True)\n"
    "    sys.stdin.read()\n"
)


def operator_crd(kind: str, plural: str) -> dict[str, object]:
    """Return a definition of one of the Prometheus Operator's kinds that takes any content."""
    group = "monitoring.coreos.com"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


@contextmanager
def cluster(folder: Path, context: str) -> Iterator[Path]:
    """Run an API server and yield a kubeconfig for it."""
    command = [sys.executable, "-W", "error", "-c", SERVE, str(folder)]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            options = dict(
                word.removeprefix("--").split("=", 1) for word in json.loads(process.stdout.readline()) if "=" in word
            )
            config = {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": context,
                "contexts": [{"name": context, "context": {"cluster": "test", "user": "admin"}}],
                "clusters": [
                    {
                        "name": "test",
                        "cluster": {
                            "server": options["server"],
                            "certificate-authority": options["certificate-authority"],
                        },
                    }
                ],
                "users": [{"name": "admin", "user": {"token": options["token"]}}],
            }
            path = folder / "kubeconfig"
            path.write_text(yaml.safe_dump(config), encoding="utf-8")
            definitions = [
                operator_crd("PrometheusRule", "prometheusrules"),
                operator_crd("ServiceMonitor", "servicemonitors"),
            ]
            listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": definitions})
            kubectl = ["kubectl", f"--kubeconfig={path}"]
            subprocess.run([*kubectl, "create", "-f", "-"], input=listed, text=True, check=True, capture_output=True)
            wait = [*kubectl, "wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"]
            subprocess.run(wait, check=True, capture_output=True)
            yield path
        finally:
            process.communicate(timeout=30)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A copy of the program: `pulumi stack init` writes into the stack's file."""
    target = tmp_path / "program"
    target.mkdir()
    for name in PROGRAM:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, target / name)
    return target


def test_first_preview_of_the_dev_stack_says_what_it_will_run(tmp_path: Path, program: Path) -> None:
    settings = yaml.safe_load((program / "Pulumi.dev.yaml").read_text(encoding="utf-8"))
    context = settings["config"]["vllm-eval:cluster"]["context"]
    # A preview asks the chart's repository, and no test goes out.
    settings["config"]["vllm-eval:argocd"] = {"chart": str(chart.write(tmp_path))}
    (program / "Pulumi.dev.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (tmp_path / "state").mkdir()
    (tmp_path / "server").mkdir()
    with github_server() as github, cluster(tmp_path / "server", context) as kubeconfig:
        env = environment(tmp_path, kubeconfig)
        subprocess.run(["pulumi", "stack", "init", "dev"], cwd=program, env=env, check=True, capture_output=True)
        request = PullRequest(World(tmp_path), github)
        command = [sys.executable, str(SCRIPTS / "pulumi_stack.py"), "preview", "--stack", "dev"]
        command += ["--output", str(request.records / "dev.json")]
        previewed = subprocess.run(command, cwd=program, env=env, check=False, capture_output=True, text=True)
        done = request.run("dev")

        assert previewed.returncode == 0, previewed.stderr
        assert done.returncode == 0, request.comment
        assert "**This runs 1 model x 2 tasks** for the first time." in request.comment
        assert "Job evalchemy  (the evaluation)" in request.comment
        assert "Application vllm-evalchemy-job" in request.comment
        assert "+kind: CronJob" in request.comment
        assert "+kind: Job" not in request.comment, "Argo CD must not emit the Job that Pulumi owns"
