"""Faults beside the endpoint's answers: results that cannot be written, a gateway that is down or refuses."""

import os
import shlex
import subprocess
import sys

import pytest

from tests.support.openai_server import OpenAIServer, Plan, running
from tests.support.pushgateway import Pushgateway, refusing_gateway
from tests.support.workspace import MODEL, Workspace


def test_a_full_disk_ends_the_run_and_publishes_no_score(workspace: Workspace, pushgateway: Pushgateway) -> None:
    """RLIMIT_FSIZE makes a write fail as a full disk does; real ones are in test_faults_disk."""
    workspace.add_task("task", 200)
    server = OpenAIServer(workspace.answers)
    with workspace.served(server):
        command = f"ulimit -f 16; exec {shlex.quote(sys.executable)} -m vllm_eval run"
        environ = {
            **os.environ, **workspace.environ,
            "VLLM_EVAL_PUSHGATEWAY": pushgateway.url, "VLLM_EVAL_STACK": "full",
        }  # fmt: skip
        # bash: the unit of its ulimit -f is 1024 bytes.
        done = subprocess.run(["bash", "-c", command], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "cannot write answers to" in done.stderr
    assert len(server.requests) < 200, "a run that cannot keep answers must not go on asking"
    assert pushgateway.values("full", "vllm_eval_exact_match") == {}
    assert pushgateway.values("full", "vllm_eval_run_success") == {"task": 0}


@pytest.mark.parametrize("results", ["/proc/vllm-eval", "{root}/a-file/results"])
def test_results_that_cannot_be_written_are_found_before_the_first_request(
    workspace: Workspace, pushgateway: Pushgateway, results: str
) -> None:
    workspace.add_task("task", 5)
    (workspace.root / "a-file").write_text("")
    server = OpenAIServer(workspace.answers)
    stack = f"unwritable-{len(results)}"
    with workspace.served(server):
        code = workspace.run(VLLM_EVAL_RESULTS=results.format(root=workspace.root), VLLM_EVAL_STACK=stack,
            VLLM_EVAL_PUSHGATEWAY=pushgateway.url,
        )  # fmt: skip
    assert code == 3
    assert server.requests == []
    assert pushgateway.values(stack, "vllm_eval_run_success") == {"task": 0}


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_a_refusing_gateway_leaves_the_score_on_disk(workspace: Workspace, status: int) -> None:
    workspace.add_task("task", 5)
    with running(OpenAIServer(workspace.answers)) as url, refusing_gateway(status) as gateway:
        workspace.set_models(workspace.model(url))
        assert workspace.run(VLLM_EVAL_PUSHGATEWAY=gateway.url) == 7
        tries = len(gateway.received)
    assert workspace.last().tasks["task"].score == 1.0
    assert (tries == 1) is (status in {400, 404}), "a refusal that cannot heal is not repeated"


def test_a_slow_gateway_is_awaited(
    workspace: Workspace, pushgateway: Pushgateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway is down for the first tries: the rest of the run waits, not the score."""
    from vllm_eval.gateway import Gateway, Reply

    answers = iter([503, 503])

    async def unavailable_first(self: Gateway, method: str, url: str, body: bytes) -> Reply:
        status = next(answers, None)
        return Reply(status, "starting", None) if status is not None else await real(self, method, url, body)

    real = Gateway._request
    monkeypatch.setattr(Gateway, "_request", unavailable_first)
    workspace.add_task("task", 5)
    with running(OpenAIServer(workspace.answers)) as url:
        workspace.set_models(workspace.model(url))
        settings = {"VLLM_EVAL_STACK": "slow", "VLLM_EVAL_PUBLISH_WAIT_SECONDS": "10"}
        assert workspace.run(**settings, VLLM_EVAL_PUSHGATEWAY=pushgateway.url) == 0
    assert pushgateway.values("slow", "vllm_eval_exact_match") == {"task": 1.0}


def test_results_on_a_remote_storage(workspace: Workspace, pushgateway: Pushgateway) -> None:
    """fsspec's memory file system stands for S3: whole objects, no append, no lock."""
    workspace.add_task("task", 30)
    workspace.environ["VLLM_EVAL_RESULTS"] = f"memory://{workspace.root.name}"
    server = OpenAIServer(workspace.answers, Plan(accuracy=0.7).changed({"faults": [{"kind": "reset", "first": 20}]}))
    settings = {"VLLM_EVAL_STACK": "remote", "VLLM_EVAL_PUSHGATEWAY": pushgateway.url}
    with workspace.served(server):
        assert workspace.run(**settings) == 3
        server.plan = Plan(accuracy=0.7)
        assert workspace.run(**settings) == 0
        run = workspace.store.runs("remote", MODEL)[-1]
        assert (run.taken_over, run.asked) == (20, 10)
        assert pushgateway.values("remote", "vllm_eval_exact_match") == {"task": workspace.score("task", 0.7)}
        assert workspace.store.storage.list("answers") == []
        samples = workspace.store.samples(run, "task")
    assert samples is not None
    assert len(samples) == 30


@pytest.mark.parametrize("url", ["gs://bucket/path", "nosuch://bucket/path"])
def test_a_storage_that_is_not_installed_is_the_users_fault(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], url: str
) -> None:
    workspace.add_task("task", 5)
    workspace.set_models(workspace.model("http://127.0.0.1:9/v1"))
    assert workspace.run(VLLM_EVAL_RESULTS=url) == 2
    said = capfd.readouterr().err
    assert f"VLLM_EVAL_RESULTS (--out) is '{url}'" in said
    assert "add it to eval/evalchemy/requirements.in, run `make lock` and build the image" in said
