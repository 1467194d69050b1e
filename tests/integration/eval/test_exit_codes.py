"""Which exit code wins when a run goes wrong in several ways, and that --help says so."""

import itertools
import re
from collections.abc import Iterator

import pytest

from tests.support.openai_server import OpenAIServer, Plan, running
from tests.support.pushgateway import Pushgateway, refusing_gateway
from tests.support.workspace import Workspace
from vllm_eval import errors
from vllm_eval.cli import main
from vllm_eval.judge import CAUSES, error_of
from vllm_eval.records import Cause, TaskResult

ORDER = [3, 5, 2, 4]


def failed(task: str, cause: Cause) -> TaskResult:
    return TaskResult(
        task=task, task_hash="h", engine="e", engine_version="e 1", good=False, cause=cause, problems=("broken",)
    )


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(CAUSES, 2)))
def test_of_two_tasks_the_cause_that_a_retry_may_heal_wins(one: Cause, other: Cause) -> None:
    """In either order of the tasks, and both are named."""
    error = error_of([failed("first", one), failed("second", other)])
    codes = {CAUSES[cause].exit_code for cause in (one, other)}
    assert error is not None
    assert error.exit_code == min(codes, key=ORDER.index)
    assert "first" in str(error)
    assert "second" in str(error)


def test_a_failed_verification_is_final_and_the_failed_endpoint_is_asked_again(
    workspace: Workspace, pushgateway: Pushgateway
) -> None:
    """3 lets the pod be retried; the retry asks for the one task only, and then ends with 4."""
    workspace.add_task("empty", 20, settings={"max_empty_share": 0})
    workspace.add_task("refused", 20, max_gen_toks=17)
    for question in workspace.items["empty"]:
        workspace.items["empty"][question] = ""
    server = OpenAIServer(workspace.answers, Plan())
    server.reject = lambda body: body["max_tokens"] == 17
    settings = {
        "VLLM_EVAL_STACK": "two-causes", "VLLM_EVAL_PUSHGATEWAY": pushgateway.url, "VLLM_EVAL_RUN_ID": "uid",
    }  # fmt: skip
    with workspace.served(server):
        assert workspace.run(**settings) == 3
        server.reject = None
        server.requests.clear()
        assert workspace.run(**settings) == 4
    assert {body["max_tokens"] for body in server.requests} == {17}
    assert pushgateway.values("two-causes", "vllm_eval_exact_match") == {"refused": 1.0}
    assert pushgateway.values("two-causes", "vllm_eval_run_success") == {"empty": 0.0, "refused": 1.0}


@pytest.mark.parametrize(
    ("plan", "code"),
    [
        (Plan(), 7),
        (Plan(accuracy=0.3), 7),
        (Plan(down=True), 3),
        (Plan(models=("somebody-else",)), 2),
        (Plan().changed({"faults": [{"kind": "empty"}]}), 7),
    ],
    ids=["all good", "a regression", "the endpoint is down", "another model", "no verification"],
)
def test_a_refusing_gateway_beside_another_failure(workspace: Workspace, plan: Plan, code: int) -> None:
    workspace.add_task("task", 200)
    server = OpenAIServer(workspace.answers, Plan())
    with running(server) as url, refusing_gateway(503) as gateway:
        workspace.set_models(workspace.model(url, concurrency=32))
        assert workspace.run() == 0
        server.plan = plan
        assert workspace.run(VLLM_EVAL_PUSHGATEWAY=gateway.url, VLLM_EVAL_GATE="1") == code


def test_a_regression_beside_a_failed_task_is_the_failure(workspace: Workspace) -> None:
    workspace.add_task("worse", 200)
    workspace.add_task("refused", 10, max_gen_toks=17)
    server = OpenAIServer(workspace.answers, Plan())
    with workspace.served(server, concurrency=32):
        assert workspace.run() == 0
        server.plan = Plan(accuracy=0.3)
        server.reject = lambda body: body["max_tokens"] == 17
        assert workspace.run(VLLM_EVAL_GATE="1", VLLM_EVAL_RUN_ID="uid") == 3
        comparison = workspace.last().tasks["worse"].comparison
        assert comparison is not None
        assert comparison.verdict == "worse"
        server.reject = None
        assert workspace.run(VLLM_EVAL_GATE="1", VLLM_EVAL_RUN_ID="uid") == 6


def every_error(kind: type[errors.VllmEvalError]) -> Iterator[type[errors.VllmEvalError]]:
    for child in kind.__subclasses__():
        yield child
        yield from every_error(child)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_help_names_every_exit_code_and_their_order(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    said = capsys.readouterr().out
    named = {int(code) for code in re.findall(r"^  (\d+) +\w", said, re.MULTILINE)}
    assert named == {0, 130, 143} | {kind.exit_code for kind in every_error(errors.VllmEvalError)}
    order = ", ".join(str(kind.exit_code) for kind in CAUSES.values())
    assert f"the first of {order} wins" in said
