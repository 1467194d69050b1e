"""What a run does when the endpoint misbehaves: exit code, what is published, what stays on disk.

Three things hold for every row. A published score is exactly what the answers
give, or there is none. No durably recorded answer is asked again, once the
fault is gone. The API key is in no output and no file.
"""

import gzip
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.openai_server import OpenAIServer, Plan
from tests.support.pushgateway import Pushgateway
from tests.support.workspace import Workspace

ITEMS = 60
CONCURRENCY = 8
ACCURACY = 0.7
KEY = "sk-a-secret-that-nobody-may-see"


@dataclass(frozen=True)
class Row:
    """One fault. ``scored``: a score is published; ``kept``: answers wait for the next attempt."""

    name: str
    code: int
    scored: bool = False
    kept: bool = False
    faults: Sequence[Mapping[str, Any]] = ()
    plan: Mapping[str, Any] = field(default_factory=dict)
    task: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


def status(code: int, rate: float = 1.0, **more: Any) -> Mapping[str, Any]:  # noqa: ANN401 - fields of Fault
    return {"kind": "status", "status": code, "rate": rate, **more}


HEALS = [
    Row("500 now and then", 0, scored=True, faults=[status(500, 0.1)]),
    Row("502 now and then", 0, scored=True, faults=[status(502, 0.1)]),
    Row("503 for the first requests", 0, scored=True, faults=[status(503, times=5)]),
    Row("429 now and then", 0, scored=True, faults=[status(429, 0.1)]),
    Row("429 with Retry-After", 0, scored=True, faults=[status(429, 0.05, headers={"Retry-After": "0.05"})]),
    Row(
        "429 with a date of another clock", 0, scored=True,
        faults=[status(429, 0.05, headers={"Retry-After": "Thu, 01 Jan 2099 00:00:00 GMT"})],
    ),
    Row("404 while an ingress is switched", 0, scored=True, faults=[status(404, times=4)]),
    Row("hangs now and then", 0, scored=True, faults=[{"kind": "hang", "rate": 0.05}]),
    Row("drips now and then", 0, scored=True, faults=[{"kind": "drip", "rate": 0.05}]),
    Row("cut bodies", 0, scored=True, faults=[{"kind": "truncated_body", "rate": 0.1}]),
    Row("HTML instead of JSON", 0, scored=True, faults=[{"kind": "wrong_json", "rate": 0.1}]),
    Row("JSON of another shape", 0, scored=True, faults=[{"kind": "wrong_shape", "rate": 0.1}]),
    Row("invalid UTF-8", 0, scored=True, faults=[{"kind": "invalid_utf8", "rate": 0.1}]),
    Row("connection reset", 0, scored=True, faults=[{"kind": "reset", "rate": 0.1}]),
    Row("reset in the body", 0, scored=True, faults=[{"kind": "partial_then_reset", "rate": 0.1}]),
    Row("the engine aborts answers", 0, scored=True, faults=[{"kind": "abort", "rate": 0.1}]),
    Row(
        "everything at once", 0, scored=True,
        faults=[{"kind": kind, "rate": 0.03} for kind in ("reset", "wrong_json", "hang", "truncated_body", "abort")],
    ),
]  # fmt: skip

BREAKS = [
    Row("down at the start", 3, plan={"down": True}, reason="cannot be reached"),
    Row("down in the middle", 3, kept=True, faults=[{"kind": "reset", "first": 30}], reason="has answered nobody"),
    Row("503 for ever", 3, faults=[status(503)], reason="503"),
    Row("hangs for ever", 3, faults=[{"kind": "hang"}], reason="time-out"),
    Row("429 for ever", 3, kept=True, faults=[status(429, first=20)], reason="429"),
    Row("400 for some items", 3, kept=True, faults=[status(400, 0.05, sticky=True)], reason="HTTP 400"),
    Row("422 for some items", 3, kept=True, faults=[status(422, 0.05, sticky=True)], reason="HTTP 422"),
    Row("500 for the same items always", 3, kept=True, faults=[status(500, 0.05, sticky=True)], reason="given up"),
    Row("HTML for the same items always", 3, kept=True, faults=[{"kind": "wrong_json", "rate": 0.05, "sticky": True}]),
    Row(
        "an answer without end", 3, kept=True, faults=[{"kind": "huge", "first": 30, "times": 1}], reason="larger than"
    ),
    Row("401 in the middle", 3, kept=True, faults=[status(401, first=30)], reason="HTTP 401"),
    Row("redirects", 3, kept=True, faults=[{"kind": "redirect", "first": 30}], reason="redirects to"),
    Row("no such API", 3, faults=[status(404)], reason="404"),
    Row("no list of models", 3, plan={"models_status": 503}, reason="HTTP 503"),
    Row("the list redirects", 2, plan={"models_status": 302}, reason="redirects to /elsewhere"),
    Row("another model is served", 2, plan={"models": ["somebody-else"]}, reason="serves somebody-else"),
    Row("the key is refused", 2, plan={"api_key": "another key"}, reason="refuses the key"),
]

UNSUPPORTED = [
    Row("null answers", 4, faults=[{"kind": "null", "rate": 0.3}], reason="without text"),
    Row("empty answers", 4, faults=[{"kind": "empty", "rate": 0.3}], reason="without text"),
    Row(
        "cut answers", 4, faults=[{"kind": "length", "rate": 0.3}], task={"max_truncated_share": 0.1},
        reason="cut by the token limit",
    ),
    Row("answers of another model", 4, faults=[{"kind": "wrong_model", "rate": 0.1}], reason="more than one model"),
    Row("the model is swapped half way", 4, plan={"swap_root_after": 30}, reason="changed during the run"),
]  # fmt: skip


@pytest.mark.parametrize("row", [*HEALS, *BREAKS, *UNSUPPORTED], ids=lambda row: row.name)
def test_fault(row: Row, workspace: Workspace, pushgateway: Pushgateway, capfd: pytest.CaptureFixture[str]) -> None:
    workspace.add_task("task", ITEMS, settings=row.task)
    (workspace.root / "secrets" / "key").write_text(f"{KEY}\n")
    stack = row.name.replace(" ", "-")
    settings = {"VLLM_EVAL_PUSHGATEWAY": pushgateway.url, "VLLM_EVAL_STACK": stack, "VLLM_EVAL_RUN_ID": "uid"}
    healthy = Plan(accuracy=ACCURACY, api_key=KEY)
    server = OpenAIServer(workspace.answers, healthy.changed({"faults": row.faults, **row.plan}))
    with workspace.served(server, api_key="key", concurrency=CONCURRENCY):
        code = workspace.run(**settings)
        said = "".join(capfd.readouterr())
        exact = workspace.score("task", ACCURACY)
        assert code == row.code, said
        assert row.reason in said
        assert pushgateway.values(stack, "vllm_eval_run_success") == {"task": float(row.scored)}
        assert pushgateway.values(stack, "vllm_eval_exact_match") == ({"task": exact} if row.scored else {})
        recorded = workspace.recorded()
        assert (recorded > 0) is row.kept
        if row.kept and all(fault["kind"] in {"status", "reset", "redirect"} for fault in row.faults):
            # Whole answers that the server sent: all but those on their way were recorded.
            assert server.answered - recorded <= CONCURRENCY
        result = workspace.last(stack).tasks["task"]
        assert result.good is row.scored
        assert result.final is (row.scored or row.code == 4)

        if not result.final:
            server.plan = healthy
            # A busy machine answers later than in the half second that is enough for the faults, and is asked again.
            workspace.environ["VLLM_EVAL_REQUEST_TIMEOUT_SECONDS"] = "10"
            asked = len(server.requests)
            assert workspace.run(**settings) == 0
            assert len(server.requests) - asked == ITEMS - recorded
            assert pushgateway.values(stack, "vllm_eval_exact_match") == {"task": exact}
            assert workspace.recorded() == 0
    said += "".join(capfd.readouterr())
    assert KEY not in said
    assert not [
        path
        for path in (workspace.root / "results").rglob("*")
        if path.is_file() and KEY.encode() in (gzip.decompress if path.suffix == ".gz" else bytes)(path.read_bytes())
    ]


def test_few_empty_and_cut_answers_are_counted_and_the_score_stands(
    workspace: Workspace, pushgateway: Pushgateway
) -> None:
    workspace.add_task("task", ITEMS)
    faults = [{"kind": "null", "times": 2}, {"kind": "length", "times": 3}]
    with workspace.served(OpenAIServer(workspace.answers, Plan().changed({"faults": faults}))):
        assert workspace.run(VLLM_EVAL_PUSHGATEWAY=pushgateway.url, VLLM_EVAL_STACK="few") == 0
    assert pushgateway.values("few", "vllm_eval_exact_match") == {"task": (ITEMS - 2) / ITEMS}
    assert pushgateway.values("few", "vllm_eval_empty_responses") == {"task": 2}
    assert pushgateway.values("few", "vllm_eval_truncated_responses") == {"task": 3}


def test_a_task_that_fails_does_not_cost_the_others_their_score(workspace: Workspace, pushgateway: Pushgateway) -> None:
    workspace.add_task("good", ITEMS)
    workspace.add_task("poisoned", ITEMS, max_gen_toks=17)
    server = OpenAIServer(workspace.answers)
    settings = {"VLLM_EVAL_PUSHGATEWAY": pushgateway.url, "VLLM_EVAL_STACK": "half", "VLLM_EVAL_RUN_ID": "uid"}
    with workspace.served(server):
        server.reject = lambda body: body["max_tokens"] == 17
        assert workspace.run(**settings) == 3
        assert pushgateway.values("half", "vllm_eval_exact_match") == {"good": 1.0}
        assert pushgateway.values("half", "vllm_eval_run_success") == {"good": 1, "poisoned": 0}
        server.reject = None
        asked = len(server.requests)
        assert workspace.run(**settings) == 0
        assert len(server.requests) - asked == ITEMS
    assert pushgateway.values("half", "vllm_eval_exact_match") == {"good": 1.0, "poisoned": 1.0}


def test_a_poisoned_request_is_told_from_a_dead_endpoint_even_one_at_a_time(workspace: Workspace) -> None:
    workspace.add_task("good", 20)
    workspace.add_task("bad", 3, max_gen_toks=17)
    server = OpenAIServer(workspace.answers)
    server.fail = lambda body: body["max_tokens"] == 17
    with workspace.served(server, concurrency=1):
        assert workspace.run(VLLM_EVAL_ENDPOINT_WAIT_SECONDS="5") == 3
    tasks = workspace.last().tasks
    assert tasks["good"].score == 1.0
    assert "given up after" in tasks["bad"].problems[0]


def test_retry_after_is_obeyed(workspace: Workspace) -> None:
    workspace.add_task("task", 1)
    fault = {"kind": "status", "status": 429, "times": 1, "headers": {"Retry-After": "0.3"}}
    server = OpenAIServer(workspace.answers, Plan().changed({"faults": [fault]}))
    assert workspace.evaluate(server) == 0
    (_, first_end), (second_start, _) = server.times
    assert second_start - first_end >= 0.3


def test_retry_after_is_obeyed_within_the_deadline_only(workspace: Workspace, pushgateway: Pushgateway) -> None:
    """A server that asks for an hour is not asked before, and does not hold the run beyond its own end."""
    workspace.add_task("task", ITEMS)
    fault = status(429, first=30, headers={"Retry-After": "3600"})
    server = OpenAIServer(workspace.answers, Plan().changed({"faults": [fault]}))
    settings = {"VLLM_EVAL_PUSHGATEWAY": pushgateway.url, "VLLM_EVAL_STACK": "wait", "VLLM_EVAL_DEADLINE_SECONDS": "5"}
    with workspace.served(server, concurrency=CONCURRENCY):
        begun = time.monotonic()
        assert workspace.run(**settings) == 5
    assert time.monotonic() - begun < 60
    assert len(server.requests) <= 30 + CONCURRENCY, "each that was refused waits"
    assert workspace.recorded() == 30
    assert pushgateway.values("wait", "vllm_eval_exact_match") == {}


@pytest.mark.parametrize("code", [400, 413, 422])
def test_what_will_not_heal_is_asked_once(workspace: Workspace, code: int) -> None:
    workspace.add_task("task", ITEMS)
    server = OpenAIServer(workspace.answers, Plan().changed({"faults": [status(code, 0.2, sticky=True)]}))
    assert workspace.evaluate(server, concurrency=1) == 3
    assert workspace.last().retries == 0
    prompts = [body["prompt"] for body in server.requests]
    assert len(prompts) == len(set(prompts)) == workspace.recorded() + 1, "the rest of the task is not asked either"


def test_the_deadline_ends_the_run_and_keeps_the_answers(workspace: Workspace, pushgateway: Pushgateway) -> None:
    workspace.add_task("task", ITEMS)
    server = OpenAIServer(workspace.answers, Plan(latency=1.0))
    settings = {"VLLM_EVAL_PUSHGATEWAY": pushgateway.url, "VLLM_EVAL_STACK": "deadline"}
    workspace.environ["VLLM_EVAL_REQUEST_TIMEOUT_SECONDS"] = "10"
    with workspace.served(server, concurrency=4):
        assert workspace.run(**settings, VLLM_EVAL_DEADLINE_SECONDS="5") == 5
        recorded = workspace.recorded()
        assert 0 < recorded < ITEMS
        assert pushgateway.values("deadline", "vllm_eval_run_success") == {"task": 0}
        server.plan = Plan()
        asked = len(server.requests)
        assert workspace.run(**settings) == 0
        assert len(server.requests) - asked == ITEMS - recorded


def test_nothing_listens_there(workspace: Workspace) -> None:
    workspace.add_task("task", 3)
    workspace.set_models(workspace.model("http://127.0.0.1:9/v1"))
    assert workspace.run() == 3
    assert workspace.last().tasks["task"].cause == "endpoint"


def test_never_more_requests_at_a_time_than_allowed(workspace: Workspace) -> None:
    workspace.add_task("one", 40)
    workspace.add_task("two", 40, max_gen_toks=99)
    server = OpenAIServer(workspace.answers, Plan(latency=0.1))
    workspace.environ["VLLM_EVAL_REQUEST_TIMEOUT_SECONDS"] = "10"
    assert workspace.evaluate(server, concurrency=5) == 0
    assert server.most_concurrent == 5
