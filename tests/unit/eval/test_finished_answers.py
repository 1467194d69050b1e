"""An answer counts only if the server finished it; all else is asked again, and in the end a failure with a cause."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.openai_server import OpenAIServer
from tests.support.workspace import Workspace
from vllm_eval.answers import AnswerStore
from vllm_eval.completions import Rejected, Retry, parse_answer
from vllm_eval.requests import Answer
from vllm_eval.secrets import Redactor
from vllm_eval.spool import Kept
from vllm_eval.storage import LocalStorage

REDACTOR = Redactor()


def outcome(choice: Mapping[str, Any], **document: object) -> object:
    return parse_answer(json.dumps({"model": "m", "choices": [choice], **document}).encode(), REDACTOR)


def chat(content: object, **message: object) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": content, **message}, "finish_reason": "stop"}


@pytest.mark.parametrize(
    "reason", ["stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "COMPLETE", "STOP", "end_id"]
)
def test_a_reason_of_a_natural_end_counts(reason: str) -> None:
    assert outcome({"text": "7", "finish_reason": reason}) == Answer("7", reason, "m")


@pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS", "model_length", "repetition"])
def test_a_reason_of_a_cut_counts_as_truncated(reason: str) -> None:
    answer = outcome({"text": "The sum", "finish_reason": reason})
    assert isinstance(answer, Answer)
    assert answer.truncated


@pytest.mark.parametrize(
    "reason",
    [None, "", "network_error", "abort", "error", "timeout", "cancelled", "null", "insufficient_system_resource", 7,
     ["stop"], {"stop": 1}, True],
)  # fmt: skip
def test_any_other_reason_is_asked_again(reason: object) -> None:
    assert isinstance(outcome({"text": "The sum", "finish_reason": reason}), Retry)


def test_a_missing_reason_is_asked_again() -> None:
    assert isinstance(outcome({"text": "The sum"}), Retry)


@pytest.mark.parametrize("reason", ["content_filter", "tool_calls", "function_call", "SAFETY", "guardrail_intervened"])
def test_a_refusal_of_the_server_is_its_word_and_not_an_outage(reason: str) -> None:
    refused = outcome({"text": "The sum", "finish_reason": reason})
    assert isinstance(refused, Retry)
    assert refused.stated
    assert reason in refused.reason


@pytest.mark.parametrize(
    ("choice", "document"),
    [
        ({"text": "The sum", "finish_reason": "stop", "error": {"code": 502, "message": "upstream closed"}}, {}),
        ({"text": "The sum", "finish_reason": "stop"}, {"error": {"message": "upstream closed"}}),
        ({"text": "The sum", "finish_reason": "stop"}, {"error": "upstream closed"}),
    ],
)
def test_an_error_beside_the_text_is_asked_again(choice: dict[str, Any], document: dict[str, Any]) -> None:
    retry = outcome(choice, **document)
    assert isinstance(retry, Retry)
    assert "upstream closed" in retry.reason


@pytest.mark.parametrize("error", [None, {}, "", False])
def test_an_error_that_says_nothing_is_none(error: object) -> None:
    assert isinstance(outcome({"text": "7", "finish_reason": "stop", "error": error}, error=error), Answer)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "The sum "}, {"type": "text", "text": "is 7"}], "The sum is 7"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "9?"}]}, {"type": "text", "text": "7"}], "7"),
        ([{"type": "output_text", "text": "7"}], "7"),
        (["The sum ", "is 7"], "The sum is 7"),
        ([{"type": "image_url", "image_url": {"url": "x"}}], None),
        ([], None),
        (None, None),
    ],
)
def test_content_in_parts_is_joined_without_thoughts(content: object, text: str | None) -> None:
    assert outcome(chat(content)) == Answer(text, "stop", "m")


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_thoughts_sent_apart_are_kept_apart(field: str) -> None:
    for text in ("7", None, ""):
        assert outcome(chat(text, **{field: "8?"})) == Answer(text, "stop", "m", thought=Kept("8?"))


def test_the_refusal_of_the_model_is_its_answer() -> None:
    assert outcome(chat(None, refusal="I can't help with that.")) == Answer("I can't help with that.", "stop", "m")


def test_of_several_choices_the_first_by_index_counts() -> None:
    choices = [{"index": 1, "text": "8", "finish_reason": "stop"}, {"index": 0, "text": "7", "finish_reason": "stop"}]
    assert parse_answer(json.dumps({"choices": choices}).encode(), REDACTOR) == Answer("7", "stop", None)


def test_an_error_that_names_the_context_says_that_a_retry_cannot_help() -> None:
    rejected = outcome({"text": ""}, error={"code": 400, "message": "This model's maximum context length is 64 tokens"})
    assert isinstance(rejected, Rejected)
    assert rejected.cause == "input"


def _choice(text: str | None, **values: object) -> dict[str, Any]:
    return {"index": 0, "text": text, "finish_reason": "stop", **values}


def test_unfinished_answers_are_asked_again_until_they_are_whole(workspace: Workspace) -> None:
    workspace.add_task("t", 12)
    server = OpenAIServer(workspace.answers)
    asked: Counter[str] = Counter()

    def reply(body: Mapping[str, Any], text: str | None) -> Mapping[str, Any] | None:
        asked[body["prompt"]] += 1
        cut = asked[body["prompt"]] == 1 and (text or "").endswith("9")
        error = {"code": 502, "message": "upstream closed"}
        return {"choices": [_choice("The sum", finish_reason="network_error", error=error)]} if cut else None

    server.reply = reply
    assert workspace.evaluate(server) == 0
    assert workspace.last().tasks["t"].score == 1.0
    assert workspace.last().retries == 2


@pytest.mark.parametrize(("reason", "code"), [("content_filter", 4), ("network_error", 3)])
def test_an_item_that_is_never_answered_ends_its_task_with_the_cause(
    workspace: Workspace, reason: str, code: int
) -> None:
    """A content filter will say the same tomorrow, so a retry of the pod cannot help; a broken network may heal."""
    workspace.add_task("bad", 6)
    workspace.add_task("good", 20)
    server = OpenAIServer(workspace.answers)
    server.reply = lambda body, text: (
        {"choices": [_choice("The", finish_reason=reason)]} if "bad: what is 3" in body["prompt"] else None
    )
    assert workspace.evaluate(server) == code
    tasks = workspace.last().tasks
    assert tasks["bad"].score is None
    assert reason in tasks["bad"].problems[0]
    assert sum("bad: what is 3" in body["prompt"] for body in server.requests) < 20, "bounded"
    if code == 4:
        assert tasks["good"].score == 1.0
        assert "item 3" in tasks["bad"].problems[0]


def test_answers_that_an_earlier_version_recorded_unfinished_are_not_taken_over(tmp_path: Path) -> None:
    rows = [("whole", "7", "stop"), ("cut", "7 an", "length"), ("broken", "The", "network_error"), ("old", "7", None)]
    lines = [json.dumps({"k": key, "h": "h", "x": x, "f": f, "m": "m", "t": 1e9}) for key, x, f in rows]
    storage = LocalStorage(tmp_path)
    storage.write("answers/scope/1-1.jsonl", "\n".join(lines).encode())
    store = AnswerStore(storage, "scope", max_age=1e12, closed={})
    store.flush()
    assert set(store.taken) == {"whole", "cut"}
