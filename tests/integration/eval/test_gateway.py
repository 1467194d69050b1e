"""A real Pushgateway takes what the runner writes, also from an attempt that a kill interrupted."""

import signal
import time

import pytest

from tests.support.openai_server import OpenAIServer, running
from tests.support.pushgateway import Pushgateway
from tests.support.report_runs import SERVED, result, run
from tests.support.workspace import MODEL, Workspace
from vllm_eval.exposition import build_group
from vllm_eval.gateway import Gateway


@pytest.mark.parametrize("name", ["org/model", "", "a" * 180, "모델", "..", "a//b", "%2F"])
def test_the_gateway_takes_any_model_name(name: str, pushgateway: Pushgateway) -> None:
    stack = f"names {name}"
    group = build_group([run(1, result(), stack=stack, model={**SERVED, "name": name})])
    gateway = Gateway(pushgateway.url, wait=0)
    gateway.replace(stack, name, group.text())
    assert [item.value for item in pushgateway.series(stack) if item.name == "vllm_eval_exact_match"] == [0.8]
    gateway.delete(stack, name)
    assert pushgateway.series(stack) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_kill_after_a_task_is_done_asks_nothing_of_it_again(
    workspace: Workspace, pushgateway: Pushgateway, number: signal.Signals
) -> None:
    """Killed while the gateway is awaited: the score is stored, and the next attempt only publishes."""
    server = OpenAIServer({})
    with running(server) as url:
        workspace.add_task("task", 60)
        workspace.set_models(workspace.model(url))
        workspace.environ["VLLM_EVAL_REQUEST_TIMEOUT_SECONDS"] = "10"
        server.set_answers(workspace.answers)
        dead = {"VLLM_EVAL_PUSHGATEWAY": "http://127.0.0.1:9", "VLLM_EVAL_PUBLISH_WAIT_SECONDS": "60"}
        settings = {"VLLM_EVAL_RUN_ID": "uid", "VLLM_EVAL_STACK": f"killed-{number.name}"}
        process = workspace.start(**settings, **dead)
        try:
            limit = time.monotonic() + 30
            while not any(each.ended for each in workspace.store.runs(settings["VLLM_EVAL_STACK"], MODEL)):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < limit
                time.sleep(0.02)
            process.send_signal(number)
            process.communicate(timeout=20)
        finally:
            process.kill()
            process.communicate()
        assert process.returncode in {143, -signal.SIGKILL}
        assert workspace.run(**settings, VLLM_EVAL_PUSHGATEWAY=pushgateway.url) == 0
    assert len(server.requests) == 60
    assert pushgateway.values(settings["VLLM_EVAL_STACK"], "vllm_eval_exact_match") == {"task": 1.0}
