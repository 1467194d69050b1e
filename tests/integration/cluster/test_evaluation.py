"""Following the evaluation on a real API server that is away for a while."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.apiserver import CONTEXT, ApiServer, running_apiserver
from workbench.cluster import evaluation
from workbench.cluster.context import Context
from workbench.paths import Paths
from workbench.shell import CommandError, WorkbenchError

TIME: Final = "2026-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A cluster with a Job that has failed."""
    with running_apiserver(tmp_path_factory.mktemp("server")) as running:
        running.kubectl("create", "namespace", "vllm-eval")
        template = {
            "metadata": {"annotations": {"git-commit": "abc"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "evalchemy", "image": "none"}]},
        }
        meta = {"name": "evalchemy", "namespace": "vllm-eval"}
        running.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": template}})
        conditions = [
            {"type": kind, "status": "True", "message": "told", "lastTransitionTime": TIME, "lastProbeTime": TIME}
            for kind in ("FailureTarget", "Failed")
        ]
        status = json.dumps({"status": {"startTime": TIME, "conditions": conditions}})
        words = ("patch", "job", "evalchemy", "--namespace=vllm-eval", "--subresource=status", "--type=merge")
        running.kubectl(*words, "--patch", status)
        yield running


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubeconfig that leads to a closed port."""
    config: dict[str, Any] = yaml.safe_load(server.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.setattr(evaluation, "INTERVAL", 0.1)
    return file


def follow(tmp_path: Path, seconds: float, outage: float) -> evaluation.JobState:
    runner = Context(CONTEXT, "dev", Paths(tmp_path, "test"))
    return evaluation.follow(runner, lambda job: "", stack="dev", prometheus=None, seconds=seconds, outage=outage)


def test_a_cluster_that_is_away_for_a_while_does_not_end_the_wait(
    server: ApiServer, kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def come_back(text: str) -> None:
        said.append(text)
        kubeconfig.write_text(server.kubeconfig.read_text())

    monkeypatch.setattr(evaluation, "say", come_back)
    with pytest.raises(WorkbenchError, match="the evaluation failed: told"):
        follow(tmp_path, 60, 60)
    (told,) = said
    assert told.startswith("  no answer: The connection to the server 127.0.0.1:1 was refused")


def test_one_that_stays_away_is_reported_at_the_deadline(kubeconfig: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"did not end within 1 s; last seen: no answer: .*refused"):
        follow(tmp_path, 1, 60)


def test_one_that_has_ended_is_reported_before_the_deadline(kubeconfig: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"127\.0\.0\.1:1 was refused"):
        follow(tmp_path, 60, 0.5)
