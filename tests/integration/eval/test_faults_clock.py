"""Nodes whose clocks differ: whose score is shown, and that a wrong clock blocks nobody for long."""

import time

import pytest

from tests.support.openai_server import OpenAIServer, Plan
from tests.support.pushgateway import Pushgateway
from tests.support.workspace import MODEL, Workspace
from vllm_eval.publish import CLOCK_TOLERANCE_SECONDS

REAL = time.time


class Node:
    """Runs of one model; ``skew`` is what this node's clock is ahead, in seconds."""

    def __init__(self, workspace: Workspace, server: OpenAIServer) -> None:
        self._workspace = workspace
        self._server = server

    def run(self, run_id: str, accuracy: float, skew: float, **environ: str) -> int:
        self._server.plan = Plan(accuracy=accuracy)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time", lambda: REAL() + skew)
            return self._workspace.run(VLLM_EVAL_RUN_ID=run_id, **environ)


@pytest.mark.parametrize("ahead", [3600.0, 86400.0])
def test_a_clock_that_is_ahead_does_not_keep_later_runs_from_being_shown(
    workspace: Workspace, pushgateway: Pushgateway, capfd: pytest.CaptureFixture[str], ahead: float
) -> None:
    workspace.add_task("task", 100)
    server = OpenAIServer(workspace.answers)
    stack = f"ahead-{ahead:.0f}"
    settings = {"VLLM_EVAL_STACK": stack, "VLLM_EVAL_PUSHGATEWAY": pushgateway.url}
    with workspace.served(server, concurrency=32):
        node = Node(workspace, server)
        assert node.run("ahead", 0.9, ahead, **settings) == 0
        assert pushgateway.values(stack, "vllm_eval_exact_match") == {"task": workspace.score("task", 0.9)}
        assert node.run("right", 0.8, 0.0, **settings) == 0
    assert "run ahead started in the future by this machine's clock and is left out" in capfd.readouterr().err
    assert pushgateway.values(stack, "vllm_eval_exact_match") == {"task": workspace.score("task", 0.8)}
    (shown,) = pushgateway.values(stack, "vllm_eval_last_run_timestamp_seconds").values()
    assert shown <= REAL()
    assert {run.run_id for run in workspace.store.runs(stack, MODEL)} == {"ahead", "right"}
    comparison = workspace.store.runs(stack, MODEL)[0].tasks["task"].comparison
    assert comparison is not None
    assert comparison.verdict == "no_baseline", "a run of the future is nobody's baseline"


def test_a_clock_that_is_a_little_behind_stores_its_score_and_shows_the_later_one(
    workspace: Workspace, pushgateway: Pushgateway, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace.add_task("task", 100)
    server = OpenAIServer(workspace.answers)
    settings = {"VLLM_EVAL_STACK": "behind", "VLLM_EVAL_PUSHGATEWAY": pushgateway.url}
    with workspace.served(server, concurrency=32):
        node = Node(workspace, server)
        assert node.run("right", 0.9, 0.0, **settings) == 0
        assert node.run("behind", 0.8, -CLOCK_TOLERANCE_SECONDS / 2, **settings) == 0
    assert "run right started later by its recorded clock than run behind" in capfd.readouterr().err
    assert pushgateway.values("behind", "vllm_eval_exact_match") == {"task": workspace.score("task", 0.9)}
    scores = {run.run_id: run.tasks["task"].score for run in workspace.store.runs("behind", MODEL)}
    assert scores == {"right": workspace.score("task", 0.9), "behind": workspace.score("task", 0.8)}


def test_a_clock_that_is_far_behind_shows_its_own_score_until_the_next_run(
    workspace: Workspace, pushgateway: Pushgateway
) -> None:
    """Whose clock is wrong, nobody can tell: to that node all others are ahead. Each score shown is a real one."""
    workspace.add_task("task", 100)
    server = OpenAIServer(workspace.answers)
    settings = {"VLLM_EVAL_STACK": "far-behind", "VLLM_EVAL_PUSHGATEWAY": pushgateway.url}
    with workspace.served(server, concurrency=32):
        node = Node(workspace, server)
        for run_id, accuracy, skew in (("right", 0.9, 0.0), ("behind", 0.8, -3600.0), ("next", 0.85, 0.0)):
            assert node.run(run_id, accuracy, skew, **settings) == 0
            shown = {"task": workspace.score("task", accuracy)}
            assert pushgateway.values("far-behind", "vllm_eval_exact_match") == shown
    assert len(workspace.store.runs("far-behind", MODEL)) == 3


def test_clocks_a_few_seconds_apart_are_no_matter(workspace: Workspace, pushgateway: Pushgateway) -> None:
    """Half a minute, as without any time service: the answers of a killed run still count, and the scores show."""
    workspace.add_task("task", 60)
    server = OpenAIServer(workspace.answers)
    settings = {"VLLM_EVAL_STACK": "near", "VLLM_EVAL_PUSHGATEWAY": pushgateway.url}
    with workspace.served(server):
        node = Node(workspace, server)
        server.plan = Plan().changed({"faults": [{"kind": "reset", "first": 30}]})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time", lambda: REAL() + 30)
            assert workspace.run(VLLM_EVAL_RUN_ID="uid", **settings) == 3
        assert node.run("uid", 1.0, 0.0, **settings) == 0
    assert workspace.last("near").taken_over == 30
    assert pushgateway.values("near", "vllm_eval_exact_match") == {"task": 1.0}
