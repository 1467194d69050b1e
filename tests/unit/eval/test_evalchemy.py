"""The evalchemy engine: what the real one does in silence is a failure here, and a good score counts."""

import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.evalchemy import COMMIT, ITEMS, REPEATS, make_home
from tests.support.openai_server import OpenAIServer, Plan, running, share
from tests.support.workspace import Workspace
from vllm_eval.config import TaskSettings
from vllm_eval.pool import RequestPool
from vllm_eval.relay import Relay
from vllm_eval.tasks import Task

QUESTIONS = {f"what is {number} times {number + 1}?": str(number * (number + 1)) for number in range(ITEMS)}
KEY = "sk-of-the-real-endpoint"


def prepare(workspace: Workspace, *, mode: str = "good", task: str = "AIME24", **settings: Any) -> None:  # noqa: ANN401 - keys of the configuration
    home = make_home(workspace.root / "evalchemy", QUESTIONS, mode=mode, task=task)
    workspace.environ["VLLM_EVAL_EVALCHEMY_HOME"] = str(home)
    workspace.configure({task: {"engine": "evalchemy", **settings}})
    (workspace.root / "secrets" / "key").write_text(KEY)


def use(workspace: Workspace, url: str, **fields: object) -> None:
    workspace.set_models(workspace.model(url, api="chat", api_key="key", **fields))


@pytest.mark.parametrize(("task", "repeats"), [("AIME24", REPEATS), ("MATH500", 1)])
def test_a_good_run_is_a_score_with_its_counts(workspace: Workspace, task: str, repeats: int) -> None:
    prepare(workspace, task=task, max_tokens=77)
    server = OpenAIServer(QUESTIONS, Plan(accuracy=0.5, api_key=KEY))
    with running(server) as url:
        use(workspace, url)
        assert workspace.run() == 0
    result = workspace.last().tasks[task]
    assert result.score == sum(share(question) < 0.5 for question in QUESTIONS) / ITEMS
    assert (result.samples, result.expected, result.paired) == (ITEMS, ITEMS, True)
    assert result.engine_version == f"evalchemy {COMMIT[:12]}"
    assert len(server.requests) == ITEMS * repeats
    assert {body["max_completion_tokens"] for body in server.requests} == {77}
    assert workspace.recorded() == 0


def test_it_never_sees_the_models_key(workspace: Workspace) -> None:
    prepare(workspace)
    server = OpenAIServer(QUESTIONS, Plan(api_key=KEY))
    with running(server) as url:
        use(workspace, url)
        assert workspace.run() == 0
    assert {headers["Authorization"] for headers in server.headers_seen} == {f"Bearer {KEY}"}
    assert KEY not in (workspace.root / "evalchemy" / "seen.json").read_text()


@pytest.mark.parametrize(
    ("mode", "named"),
    [
        ("empty", "Evalchemy left no result for AIME24"),
        ("not saved", "Could not save results aggregated"),
        ("torn", "left no result"),
        ("crashes", "Evalchemy ended with 1: AttributeError"),
        ("debug", "Evalchemy asked 20 times, 40 were expected"),
        ("no metric", "the metric 'accuracy_avg' is missing"),
        ("nan", "the metric 'accuracy_avg' is missing"),
    ],
)
def test_a_silent_failure_is_a_failure(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], mode: str, named: str
) -> None:
    prepare(workspace, mode=mode, metric="accuracy_avg")
    with running(OpenAIServer(QUESTIONS, Plan(api_key=KEY))) as url:
        use(workspace, url)
        assert workspace.run() in {3, 4}
    assert named in capfd.readouterr().err
    result = workspace.last().tasks["AIME24"]
    assert (result.good, result.score) == (False, None)


def test_empty_and_cut_answers_are_counted_although_it_says_nothing_of_them(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    prepare(workspace)
    plan = Plan(api_key=KEY).changed({"faults": [{"kind": "null", "times": 10}]})
    with running(OpenAIServer(QUESTIONS, plan)) as url:
        use(workspace, url)
        assert workspace.run() == 4
    assert "10 of 40 answers are without text" in capfd.readouterr().err


def test_it_grades_no_thoughts(workspace: Workspace) -> None:
    prepare(workspace)
    server = OpenAIServer(QUESTIONS, Plan(api_key=KEY))
    server.reply = lambda body, text: {
        "choices": [{"message": {"content": f"<think>\n7?\n</think>\n\n{text}"}, "finish_reason": "stop"}]
    }
    with running(server) as url:
        use(workspace, url)
        assert workspace.run() == 0
    assert workspace.last().tasks["AIME24"].score == 1.0


def test_thoughts_are_stored_with_the_answer_that_followed_them(workspace: Workspace) -> None:
    prepare(workspace)
    server = OpenAIServer(QUESTIONS, Plan(api_key=KEY))

    def reply(body: Mapping[str, Any], right: str | None) -> Mapping[str, Any]:
        # Of two seeds the answer is right, of the others it is a number of its own.
        said = right if body["seed"] < 2 else str(1000 + body["seed"])
        message = {"content": said, "reasoning": f"{right} by seed {body['seed']}"}
        return {"choices": [{"message": message, "finish_reason": "stop"}]}

    server.reply = reply
    with running(server) as url:
        use(workspace, url, reasoning="any")
        assert workspace.run() == 0
    run = workspace.last()
    thoughts = {(each.item, each.repeat): each.thought for each in workspace.store.thoughts(run, "AIME24")}
    samples = workspace.store.samples(run, "AIME24") or []
    assert len(thoughts) == len(samples) == ITEMS * REPEATS
    for sample in samples:
        seeds = (0, 1) if sample.value else (int(sample.answer or 0) - 1000,)
        assert thoughts[sample.item, sample.repeat] in {f"{sample.target} by seed {seed}" for seed in seeds}


def test_retries_are_the_runners(workspace: Workspace) -> None:
    prepare(workspace)
    plan = Plan(api_key=KEY).changed({"faults": [{"kind": "status", "status": 503, "rate": 0.2}]})
    with running(OpenAIServer(QUESTIONS, plan)) as url:
        use(workspace, url)
        assert workspace.run() == 0
    assert workspace.last().retries > 0
    assert workspace.last().tasks["AIME24"].score == 1.0


def test_a_dead_endpoint_is_no_score_and_the_next_attempt_goes_on(workspace: Workspace) -> None:
    prepare(workspace)
    server = OpenAIServer(QUESTIONS, Plan(api_key=KEY).changed({"faults": [{"kind": "reset", "first": 15}]}))
    with running(server) as url:
        use(workspace, url)
        assert workspace.run() == 3
        assert workspace.recorded() == 15
        server.plan = Plan(api_key=KEY)
        asked = len(server.requests)
        assert workspace.run() == 0
    assert len(server.requests) - asked == ITEMS * REPEATS - 15
    assert workspace.last().taken_over == 15


def test_the_deadline_kills_it(workspace: Workspace) -> None:
    prepare(workspace, mode="hangs")
    with running(OpenAIServer(QUESTIONS, Plan(api_key=KEY))) as url:
        use(workspace, url)
        assert workspace.run(VLLM_EVAL_DEADLINE_SECONDS="1.5") == 5


@pytest.mark.parametrize(
    ("fields", "settings", "named"),
    [
        ({"api": "completions"}, {}, "need the chat API"),
        ({"served_name": "fo1-7b"}, {}, "serve 'fo1-7b' under another name"),
        ({}, {"limit": 2}, "cannot limit its benchmarks"),
        ({}, {"num_fewshot": 2}, "num_fewshot and generation are for lm_eval's tasks"),
    ],
)
def test_what_it_would_run_wrongly_is_refused_before_the_first_request(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], fields: dict[str, object], settings: dict[str, Any],
    named: str,
) -> None:  # fmt: skip
    prepare(workspace, **settings)
    server = OpenAIServer(QUESTIONS, Plan(api_key=KEY))
    with running(server) as url:
        workspace.set_models({**workspace.model(url, api="chat", api_key="key"), **fields})
        assert workspace.run() == 2
    assert named in capfd.readouterr().err
    assert server.requests == []


def test_an_image_without_it_refuses_its_tasks(workspace: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    prepare(workspace)
    server = OpenAIServer(QUESTIONS, Plan(api_key=KEY))
    with running(server) as url:
        use(workspace, url)
        assert workspace.run(VLLM_EVAL_EVALCHEMY_HOME=str(workspace.root / "nothing")) == 2
    assert "this image has no Evalchemy" in capfd.readouterr().err


def test_an_unknown_benchmark_or_engine_is_refused(workspace: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    prepare(workspace)
    with running(OpenAIServer(QUESTIONS, Plan(api_key=KEY))) as url:
        use(workspace, url)
        for engine, named in (("evalchemy", "Evalchemy runs AIME24"), ("other", "unknown engine 'other'")):
            workspace.configure({"HumanEval": {"engine": engine}})
            assert workspace.run() == 2
            assert named in capfd.readouterr().err


def test_the_relay_serves_its_own_run_only() -> None:
    task = Task(
        name="t", settings=TaskSettings(enabled=True), config=None, yaml_path=None, limit=None, expected=None, hash="h"
    )

    @asynccontextmanager
    async def no_pool() -> AsyncIterator[RequestPool]:
        yield None  # type: ignore[misc]  # nothing may reach it

    relay = Relay(task, model="m", concurrency=1, open_pool=no_pool, taken={})
    with relay.running():
        for token, body, status in (("wrong", b"{}", 401), (relay.token, b"{}", 400), (relay.token, b"\xff", 400)):
            headers = {"Authorization": f"Bearer {token}"}
            request = urllib.request.Request(f"{relay.url}/chat/completions", body, headers)  # noqa: S310 - loopback
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=5)  # noqa: S310 - loopback
            assert caught.value.code == status
            caught.value.close()
    assert relay.answers == []
