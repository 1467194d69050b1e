"""An answer that is streamed is the answer that came whole, with its times; one that breaks off is none."""

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.openai_server import OpenAIServer, Plan
from tests.support.workspace import Workspace
from vllm_eval.streams import Stream


def streaming(workspace: Workspace, *, breaks: bool = False) -> OpenAIServer:
    server = OpenAIServer(workspace.answers, Plan(accuracy=0.6))
    server.stream = lambda body, text: [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        {"choices": [{"index": 0, "delta": {"reasoning": "8?"}}]},
        *({"choices": [{"index": 0, "delta": {"content": part}}]} for part in text or ""),
        *([] if breaks else [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]),
        {"choices": [], "usage": {"completion_tokens": 11}},
    ]
    server.reply = lambda _, text: {
        "choices": [{"index": 0, "message": {"content": text, "reasoning": "8?"}, "finish_reason": "stop"}]
    }
    return server


def test_a_streamed_answer_is_the_whole_one_with_its_times(workspace: Workspace) -> None:
    workspace.add_task("t", 20, settings={"engine": "lm_eval"})
    scores = []
    for block in ({}, {"stream": True}):
        assert workspace.evaluate(streaming(workspace), api="chat", **block) == 0
        scores.append(workspace.last().tasks["t"].score)
    result = workspace.last().tasks["t"]
    assert scores[0] == scores[1]
    assert result.thoughts is not None
    assert (result.thoughts.answers, result.thoughts.characters) == (20, 40)
    assert result.speed is not None
    assert result.speed.request is not None
    assert result.speed.first_token is not None
    assert result.speed.between_tokens is not None
    assert result.speed.first_token.p50 <= result.speed.request.p50
    assert result.speed.tokens == 11
    assert workspace.last().output_tokens_per_second


def test_a_stream_that_breaks_off_is_no_answer(workspace: Workspace) -> None:
    workspace.add_task("t", 4)
    assert workspace.evaluate(streaming(workspace, breaks=True), api="chat", stream=True) == 3
    assert workspace.last().tasks["t"].score is None


def test_the_servers_own_times_are_taken(workspace: Workspace) -> None:
    workspace.add_task("t", 3)
    server = OpenAIServer(workspace.answers)
    server.reply = lambda body, text: {"metrics": {"time_to_first_token_ms": 85, "mean_itl_ms": 9, "queue_time_ms": 1}}
    assert workspace.evaluate(server) == 0
    speed = workspace.last().tasks["t"].speed
    assert speed is not None
    assert speed.first_token is not None
    assert speed.between_tokens is not None
    assert (speed.first_token.p50, speed.between_tokens.p99) == (0.085, 0.009)


@pytest.mark.parametrize(("tokens", "between"), [(5, 1.0), (3, 2.0), (1, None), (None, 4.0)])
def test_a_chunk_may_hold_several_tokens(tokens: int | None, between: float | None) -> None:
    stream = Stream(begun=10.0, first=12.0, last=16.0, chunks=2)
    assert stream.times(tokens) == (2.0, between)


def test_an_event_that_is_no_object_is_refused() -> None:
    stream = Stream(begun=time.monotonic())
    for data in (b"[]", b"{", b"7"):
        with pytest.raises((ValueError, TypeError), match=r"object|Expecting"):
            stream.take(data)


def whole(*events: Mapping[str, Any]) -> Mapping[str, Any]:
    stream = Stream(begun=0.0)
    for event in events:
        stream.take(json.dumps(event).encode())
    return json.loads(stream.whole())  # type: ignore[no-any-return]


def test_completions_are_put_together_too() -> None:
    said = whole(
        {"model": "m", "choices": [{"index": 0, "text": "4"}]},
        {"model": "m", "choices": [{"index": 0, "text": "2", "finish_reason": "length"}]},
    )
    assert said["choices"] == [{"index": 0, "finish_reason": "length", "text": "42"}]
