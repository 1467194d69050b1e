"""`make up CONTEXT=…`: a whole cluster of somebody's own, from the checks to the table, and back to nothing.

What the end-to-end suite shows of the main job with no more than a cluster: scores, no changes after them, no second
run, a drop that raises its alert, a dead endpoint that moves no score, and nothing left.

Here that cluster is the sandbox's, entered as its users enter it, with nothing of the stack `local` left. With
``--context NAME`` it is that one, such as kind's in `.github/workflows/e2e.yml`, with the official plugins and the real
chart.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.e2e.endpoints import Endpoint
from workbench.cluster import report, requests
from workbench.cluster.context import Context
from workbench.cluster.kubectl import kubectl, query
from workbench.cluster.requests import Request
from workbench.cluster.stack import laid_over
from workbench.cluster.stack import plugins as plugins_of
from workbench.paths import REPOSITORY, Paths
from workbench.sandbox import stack
from workbench.shell import CommandError, Runner, run, wait_for

pytestmark = pytest.mark.e2e

STACK: Final = "elsewhere"
SERVING: Final = "vllm-eval-test"
LIMIT: Final = 100  # with fewer, even a large drop can be honestly inconclusive
# Read now: each test begins with an environment that is free of it.
KUBECONFIG: Final = os.environ.get("KUBECONFIG")


@dataclass(frozen=True)
class Elsewhere:
    """A cluster, a clone of the project with a stack file for it, and a Pulumi backend of its own."""

    runner: Runner
    context: str
    clone: Path
    env: Mapping[str, str]
    can_be_lost: bool

    def run(self, *words: str, timeout: float = 1200) -> str:
        """Run a command in the clone, where the cluster can be reached."""
        return self.runner.run(["env", "-C", self.clone, *words], env=self.env, timeout=timeout)

    def up(self, **options: str) -> str:
        """Run what `make up` runs."""
        asked = {"context": self.context, "stack": STACK, "limit": str(LIMIT), **options}
        if self.can_be_lost:
            asked["standins"] = "1"
        words = (f"--{name.replace('_', '-')}={value}" for name, value in asked.items())
        return self.run(sys.executable, "-m", "workbench", "up", *words)

    def keep(self, asked: Request) -> None:
        """Write into the stack file what `up` took from its options."""
        file = self.clone / f"Pulumi.{STACK}.yaml"
        file.write_text(laid_over(file.read_text(), requests.settings(asked)))

    def run_again(self, name: str) -> None:
        """Evaluate as the nightly would, in a Job of this name, and wait for its end."""
        where = ("-n", "vllm-eval")
        kubectl(self.runner, *where, "create", "job", name, "--from=cronjob/evalchemy-nightly")
        kubectl(self.runner, *where, "wait", "--for=condition=Complete", f"job/{name}", "--timeout=240s", timeout=300)

    def firing(self, alert: str) -> int:
        """Return for how many tasks an alert fires in the cluster's Prometheus."""
        return len(query(self.runner, f'ALERTS{{alertname="{alert}",alertstate="firing",stack="{STACK}"}}'))

    def scores(self) -> list[tuple[str, float, int]]:
        """Return task, score and number of items; the number that was to be asked is also a failed run's."""
        return [(each.task, each.exact_match, each.samples) for each in report.scores(self.runner, STACK)]

    def job(self) -> str:
        """Return the UID of the Job."""
        return kubectl(self.runner, "-n", "vllm-eval", "get", "job", "evalchemy", "-o", "jsonpath={.metadata.uid}")


@pytest.fixture
def elsewhere(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    """A cluster without the stack; at the end without it again."""
    clone = tmp_path / "clone"
    run(["git", "clone", "--quiet", REPOSITORY, clone])
    for folder in ("state", "tmp"):
        (tmp_path / folder).mkdir()
    env = {
        "PULUMI_BACKEND_URL": f"file://{tmp_path}/state",
        "PULUMI_HOME": f"{tmp_path}/pulumi",
        "PULUMI_CONFIG_PASSPHRASE": "elsewhere",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # The provider leaves a copy of the kubeconfig behind for each Helm release.
        "TMPDIR": str(tmp_path / "tmp"),
    }
    runner: Runner
    if context := request.config.getoption("context"):
        if KUBECONFIG:
            monkeypatch.setenv("KUBECONFIG", KUBECONFIG)
        name, runner = context, Context(context, STACK, Paths.of_this_clone())
        origin = run(["git", "remote", "get-url", "origin"], cwd=REPOSITORY).strip()
        git = {"repository": origin, "revision": run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY).strip()}
        settings = stack_file(name, git, {})
    else:
        sandbox = runner = request.getfixturevalue("sandbox")
        stack.pulumi(sandbox, "destroy", "--yes", "--skip-preview", *stack.config_file(sandbox))
        name, chart = "sandbox", stack.overrides(sandbox, Request()).get("argocd", {})
        settings = stack_file(name, {"repository": "http://git.sandbox:3000/vllm-eval.git"}, chart)
        env["KUBECONFIG"] = str(sandbox.paths.kubeconfig)
    (clone / f"Pulumi.{STACK}.yaml").write_text(yaml.safe_dump(settings))
    made = Elsewhere(runner, name, clone, env, can_be_lost=not context)
    kubectl(runner, "create", "namespace", SERVING)
    try:
        yield made
    finally:
        pulumi(made, "destroy", "--yes", "--skip-preview")
        kubectl(runner, "delete", "namespace", SERVING)
        shutil.rmtree(Context(name, STACK, Paths.of_this_clone()).logs, ignore_errors=True)


def stack_file(context: str, git: dict[str, str], argocd: dict[str, Any]) -> dict[str, Any]:
    """Return a stack for a small cluster that holds nothing else."""
    groups = {
        "cluster": {"context": context},
        "git": git,
        "argocd": {"reconciliation_seconds": 10, **argocd},
        "evaluation": {"endpoint_wait_seconds": 20, "results": {"size": "1Gi", "keep": False}},
        "monitoring": {"release": "sandbox", "scrape_interval_seconds": 5, "day": "2m"},
        "models": [],
    }
    return {"config": {f"vllm-eval:{name}": values for name, values in groups.items()}}


def pulumi(elsewhere: Elsewhere, *words: str) -> str:
    """Run pulumi on the stack, with the plugins that `make up` takes."""
    path = elsewhere.run("sh", "-c", "echo $PATH").strip()
    plugins = [f"{key}={value}" for key, value in plugins_of(Paths.of_this_clone(), path).items()]
    return elsewhere.run("env", *plugins, "pulumi", "--non-interactive", *words, "--stack", STACK)


def test_the_main_job_on_a_cluster_of_ones_own(elsewhere: Elsewhere) -> None:
    endpoint = Endpoint(elsewhere.runner, "elsewhere", SERVING)
    endpoint.start()
    endpoint.plan(accuracy=0.8)
    pulumi(elsewhere, "stack", "init")
    said = elsewhere.up(model_endpoint=endpoint.url, model=endpoint.name)
    rows = [line.split() for line in said.splitlines() if line.startswith(endpoint.name)]
    assert [row[2] for row in rows] == ["custom_task_1", "custom_task_2"], said
    assert all(f"{LIMIT}/{LIMIT}" in row for row in rows), said
    assert endpoint.asked() == 2 * LIMIT

    before = elsewhere.job()
    elsewhere.up(model_endpoint=endpoint.url, model=endpoint.name)
    assert elsewhere.job() == before, "a second `make up` evaluated again"
    assert endpoint.asked() == 2 * LIMIT

    elsewhere.keep(Request(endpoint=endpoint.url, model=endpoint.name, limit=str(LIMIT)))
    for words in (["preview"], ["refresh", "--yes", "--skip-preview"], ["preview"]):
        pulumi(elsewhere, *words, "--expect-no-changes")

    endpoint.plan(accuracy=0.4)
    elsewhere.run_again("drop")
    wait_for("the drop's alerts", lambda: elsewhere.firing("EvaluationRegression") == 2, seconds=180)

    where = (f"--context={elsewhere.context}", f"--stack={STACK}", "--to=results")
    elsewhere.run(sys.executable, "-m", "workbench", "reports", *where)
    assert "verdict worse" in (elsewhere.clone / "results/index.html").read_text()
    pods = ("-n", "vllm-eval", "get", "pods", "-o", "name")
    wait_for("the end of the pod that read", lambda: "-fetch-" not in kubectl(elsewhere.runner, *pods), seconds=60)

    scores = elsewhere.scores()
    assert [samples for *_, samples in scores] == [LIMIT, LIMIT]
    kubectl(elsewhere.runner, "-n", SERVING, "scale", f"deployment/{endpoint.name}", "--replicas=0")
    with pytest.raises(CommandError) as refused:
        elsewhere.up(limit=str(LIMIT + 1))
    assert "the evaluation failed" in refused.value.output
    success = f'vllm_eval_run_success{{stack="{STACK}"}}'
    wait_for("its series", lambda: [value for _, value in query(elsewhere.runner, success)] == [0.0, 0.0], seconds=180)
    wait_for("the failure's alerts", lambda: elsewhere.firing("EvaluationFailed") == 2, seconds=180)
    assert elsewhere.scores() == scores, "an endpoint that is dead is no score"

    pulumi(elsewhere, "destroy", "--yes", "--skip-preview")
    left = kubectl(elsewhere.runner, "get", "namespaces", "-o", "name").split()
    assert {"namespace/argocd", "namespace/vllm-eval"}.isdisjoint(left)
    assert json.loads(pulumi(elsewhere, "stack", "export"))["deployment"].get("resources", []) == []
