"""No answer is paid for twice, and none becomes another day's score."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.openai_server import OpenAIServer, Plan, running
from tests.support.workspace import Workspace
from vllm_eval.settings import INCREMENTAL_JOB

ITEMS = 60
SLOW = Plan(accuracy=0.7, latency=0.05)
CONCURRENCY = 4


def killed_half_way(workspace: Workspace, server: OpenAIServer, number: signal.Signals, **environ: str) -> int:
    """Start a run, send it a signal after 20 answers, and return its exit code."""
    process = workspace.start(**environ)
    try:
        limit = time.monotonic() + 120
        while server.answered < 20:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < limit
            time.sleep(0.01)
        # What it asks from now on takes long: it must not end before the signal arrives.
        usual, server.plan = server.plan, server.plan.changed({"latency": 5.0})
        process.send_signal(number)
        process.communicate(timeout=60)
        server.plan = usual
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    return process.returncode


def prepare(workspace: Workspace, url: str, engine: str = "fake") -> None:
    workspace.add_task("task", ITEMS, settings={"engine": engine})
    workspace.set_models(workspace.model(url, concurrency=CONCURRENCY))
    workspace.environ["VLLM_EVAL_REQUEST_TIMEOUT_SECONDS"] = "10"


@pytest.mark.parametrize("engine", ["fake", "lm_eval"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_after_a_kill_at_most_the_requests_in_flight_are_asked_again(
    workspace: Workspace, number: signal.Signals, code: int, engine: str
) -> None:
    server = OpenAIServer({}, SLOW)
    with running(server) as url:
        prepare(workspace, url, engine)
        server.set_answers(workspace.answers)
        assert killed_half_way(workspace, server, number, VLLM_EVAL_RUN_ID="first") == code
        recorded = workspace.recorded()
        asked = len(server.requests)
        assert recorded >= 20 - CONCURRENCY
        assert asked - recorded <= CONCURRENCY
        # A push supersedes the run: another Job, another id, the same model and tasks.
        assert workspace.run(VLLM_EVAL_RUN_ID="second") == 0
        assert len(server.requests) - asked == ITEMS - recorded
    run = workspace.last()
    assert (run.run_id, run.taken_over, run.asked) == ("second", recorded, ITEMS - recorded)
    assert run.tasks["task"].score == workspace.score("task", 0.7)
    assert workspace.recorded() == 0


class Interrupted:
    """A run that the endpoint's death ended after 30 answers; ``taken_over`` tells how many counted for the next."""

    def __init__(self, workspace: Workspace, server: OpenAIServer, url: str) -> None:
        self.workspace, self.server, self.url = workspace, server, url
        prepare(workspace, url)
        server.set_answers(workspace.answers)
        assert workspace.run(VLLM_EVAL_RUN_ID="first") == 3
        assert workspace.recorded() == 30
        server.plan = Plan()

    @property
    def answers(self) -> Path:
        """The file of the answers that were recorded."""
        (file,) = (self.workspace.root / "results" / "answers").rglob("*.jsonl")
        return file

    def taken_over(self, **environ: str) -> int:
        assert self.workspace.run(**{"VLLM_EVAL_RUN_ID": "second", **environ}) == 0
        return self.workspace.last().taken_over


@pytest.fixture
def interrupted(workspace: Workspace) -> Iterator[Interrupted]:
    server = OpenAIServer({}, Plan().changed({"faults": [{"kind": "reset", "first": 30}]}))
    with running(server) as url:
        yield Interrupted(workspace, server, url)


def test_another_tag_takes_nothing_over(interrupted: Interrupted) -> None:
    interrupted.workspace.set_models(interrupted.workspace.model(interrupted.url, tag="v2"))
    assert interrupted.taken_over() == 0


def test_another_endpoint_takes_nothing_over(interrupted: Interrupted) -> None:
    with running(OpenAIServer({}, Plan())) as other:
        interrupted.workspace.set_models(interrupted.workspace.model(other))
        assert interrupted.taken_over(VLLM_EVAL_RUN_ID="other") == 0


def test_other_weights_under_the_same_name_take_nothing_over(interrupted: Interrupted) -> None:
    interrupted.server.plan = Plan(root="new-weights")
    assert interrupted.taken_over() == 0


def test_changed_data_takes_nothing_over(interrupted: Interrupted) -> None:
    with (interrupted.workspace.root / "data" / "task.jsonl").open("a") as file:
        file.write(json.dumps({"question": "one more?", "answer": "1"}) + "\n")
    assert interrupted.taken_over() == 0


def test_changed_generation_settings_take_nothing_over(interrupted: Interrupted) -> None:
    path = interrupted.workspace.root / "tasks" / "task.yaml"
    path.write_text(path.read_text().replace("max_gen_toks: 16", "max_gen_toks: 17"))
    assert interrupted.taken_over() == 0


def test_answers_age_out(interrupted: Interrupted) -> None:
    time.sleep(0.3)
    assert interrupted.taken_over(VLLM_EVAL_ANSWER_MAX_AGE_SECONDS="0.2") == 0


def test_a_torn_line_is_asked_again_and_nothing_else(interrupted: Interrupted) -> None:
    interrupted.answers.write_bytes(interrupted.answers.read_bytes()[:-10])
    assert interrupted.taken_over() == 29


def test_answers_that_a_crash_left_behind_a_finished_run_are_never_used(interrupted: Interrupted) -> None:
    """The process dies between storing the score and closing its answers; the next day's run must ask."""
    place = interrupted.answers
    content = place.read_bytes()
    assert interrupted.taken_over() == 30
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    assert interrupted.taken_over(VLLM_EVAL_RUN_ID="third") == 0


def test_answers_from_the_future_are_not_used(interrupted: Interrupted) -> None:
    file = interrupted.answers
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps({**line, "t": line["t"] + 7200}) + "\n" for line in lines))
    assert interrupted.taken_over() == 0


def test_a_lost_claim_costs_the_answers_and_nothing_else(interrupted: Interrupted, tmp_path: Path) -> None:
    interrupted.workspace.environ["VLLM_EVAL_RESULTS"] = str(tmp_path / "new-claim")
    assert interrupted.taken_over() == 0
    assert interrupted.workspace.last().tasks["task"].score == 1.0


class Pushes:
    """Runs of the stack's Job with a list of models and a commit."""

    def __init__(self, workspace: Workspace, server: OpenAIServer) -> None:
        self._workspace = workspace
        self._server = server
        self._count = 0

    def asked(self, *models: dict[str, object], commit: str = "c1", **environ: str) -> int:
        """Run the first model once and return how many requests that took."""
        self._count += 1
        self._workspace.set_models(*models)
        (self._workspace.root / "git-commit").write_text(commit)
        before = len(self._server.requests)
        given = {"VLLM_EVAL_RUN_ID": f"run-{self._count}", "VLLM_EVAL_JOB_NAME": INCREMENTAL_JOB, **environ}
        assert self._workspace.run(**given) == 0
        return len(self._server.requests) - before


def test_only_a_change_of_the_list_leaves_out_unchanged_models(workspace: Workspace) -> None:
    server = OpenAIServer({})
    with running(server) as url:
        workspace.add_task("task", 10)
        server.set_answers(workspace.answers)
        pushes = Pushes(workspace, server)
        one, two = workspace.model(url), workspace.model(url, name="two", tag="t2")
        assert pushes.asked(one) == 10
        assert pushes.asked(one, two) == 0
        assert pushes.asked(two, one) == 10, "the new model itself"
        assert pushes.asked(one, two) == 10, "the same list again is a run that somebody asked for"
        assert pushes.asked(one, commit="c2") == 10, "a new commit"
        assert pushes.asked(one, two, commit="c2") == 0
        nightly = {"VLLM_EVAL_JOB_NAME": "evalchemy-nightly-29400000"}
        assert pushes.asked(one, commit="c2", **nightly) == 10, "the nightly evaluates all"
        assert pushes.asked(one, two, commit="c2") == 0
        assert pushes.asked(one, commit="c2", VLLM_EVAL_FORCE="1") == 10
        assert pushes.asked({**one, "tag": "v2"}, two, commit="c2") == 10, "a changed model"
        workspace.add_task("another", 5)
        server.set_answers(workspace.answers)
        assert pushes.asked({**one, "tag": "v2"}, commit="c2") == 15, "a changed task"


def test_a_second_attempt_still_leaves_out_what_the_first_left_out(workspace: Workspace) -> None:
    server = OpenAIServer({})
    with running(server) as url:
        workspace.add_task("task", 10)
        server.set_answers(workspace.answers)
        pushes = Pushes(workspace, server)
        one, two = workspace.model(url), workspace.model(url, name="two", tag="t2")
        assert pushes.asked(one) == 10
        with pytest.raises(AssertionError, match="7 == 0"):
            pushes.asked(one, two, VLLM_EVAL_RUN_ID="uid", VLLM_EVAL_PUSHGATEWAY="http://127.0.0.1:9")
        assert pushes.asked(one, two, VLLM_EVAL_RUN_ID="uid", VLLM_EVAL_PUSHGATEWAY="") == 0
        assert len(server.requests) == 10


def test_two_runs_at_once_wait_for_each_other(workspace: Workspace) -> None:
    server = OpenAIServer({}, Plan(accuracy=0.7, latency=0.4))
    with running(server) as url:
        prepare(workspace, url)
        server.set_answers(workspace.answers)
        processes = [workspace.start(VLLM_EVAL_RUN_ID=name) for name in ("first", "second")]
        outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert server.most_concurrent == CONCURRENCY
    assert any("another run of this model is going on" in errors for _, errors in outputs)


def test_the_lock_is_awaited_until_the_deadline_only(workspace: Workspace) -> None:
    server = OpenAIServer({}, Plan(latency=0.3))
    with running(server) as url:
        prepare(workspace, url)
        server.set_answers(workspace.answers)
        holder = workspace.start()
        try:
            _await_lock(workspace)
            assert workspace.run(VLLM_EVAL_DEADLINE_SECONDS="1") == 5
        finally:
            holder.kill()
            holder.communicate()


def _await_lock(workspace: Workspace) -> None:
    for _ in range(300):
        runs = workspace.root / "results" / "runs"
        if runs.exists():
            return
        time.sleep(0.05)
    raise AssertionError("the first run did not begin")


def test_a_process_that_is_no_terminal_gets_plain_lines(workspace: Workspace) -> None:
    server = OpenAIServer({})
    with running(server) as url:
        prepare(workspace, url)
        server.set_answers(workspace.answers)
        process = workspace.start()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "\r" not in errors
    assert f"{ITEMS} requests, {CONCURRENCY} at a time" in errors
