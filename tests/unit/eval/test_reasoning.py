"""A model that thinks has the scores of one that does not, or none, with the cause; a block of its own says how."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.support.openai_server import OpenAIServer, Plan
from tests.support.workspace import Workspace
from vllm_eval.asking import Asking, laid_over
from vllm_eval.requests import Answer
from vllm_eval.spool import Kept
from vllm_eval.thoughts import Rule, cut_at_stop, spoken_of

THOUGHT = "Is it 8?\nNo: 7.\n\nQuestion: so?"
Reply = Callable[[Mapping[str, Any], str | None], Mapping[str, Any]]


def saying(make: Callable[[str], Mapping[str, Any]], finish: str = "stop") -> Reply:
    """Answer over chat with the message that ``make`` makes of the right answer, and cut it as vLLM cuts at a stop."""

    def reply(body: Mapping[str, Any], right: str | None) -> Mapping[str, Any]:
        message = dict(make(right or ""))
        whole = "".join(str(message.get(key) or "") for key in ("reasoning", "content"))
        # A stop is looked for in all that is generated; one in the thought ends the answer before it begins.
        if any(stop in whole for stop in body.get("stop") or ()):
            message = {"content": None, "reasoning": whole.partition("\n")[0]}
        usage = {"completion_tokens": 40, "completion_tokens_details": {"reasoning_tokens": 30}}
        return {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage}

    return reply


def evaluate(workspace: Workspace, reply: Reply | None, **block: object) -> int:
    server = OpenAIServer(workspace.answers, Plan(accuracy=0.7))
    server.reply = reply
    code = workspace.evaluate(server, api="chat", **block)
    workspace.requests = server.requests  # type: ignore[attr-defined] # for the caller
    return code


FORMS: list[tuple[str, Callable[[str], Mapping[str, Any]], dict[str, Any]]] = [
    ("reasoning", lambda right: {"content": f"\n\n{right}", "reasoning": THOUGHT}, {"reasoning": "required"}),
    ("reasoning_content", lambda right: {"content": right, "reasoning_content": THOUGHT}, {"reasoning": "any"}),
    ("goes on", lambda right: {"content": f"{right}\nQ: next?", "reasoning": THOUGHT}, {"reasoning": "any"}),
    ("tags", lambda right: {"content": f"<think>{THOUGHT}</think>\n\n{right}"},
     {"reasoning": "any", "think_end_token": "</think>"}),
    ("opened by the template", lambda right: {"content": f"{THOUGHT}</think>\n\n{right}"},
     {"reasoning": "required", "think_end_token": "</think>"}),
    ("a token of its own", lambda right: {"content": f"{THOUGHT}<answer>{right}"},
     {"reasoning": "any", "think_end_token": "<answer>"}),
    ("none", lambda right: {"content": right}, {"reasoning": "off"}),
]  # fmt: skip


@pytest.mark.parametrize(("form", "make", "block"), FORMS, ids=[form for form, _, _ in FORMS])
def test_a_model_that_thinks_scores_as_one_that_does_not(
    workspace: Workspace, form: str, make: Callable[[str], Mapping[str, Any]], block: dict[str, Any]
) -> None:
    workspace.add_task("t", 30, settings={"engine": "lm_eval"})
    assert evaluate(workspace, None) == 0
    plain = [sample.value for sample in workspace.store.samples(workspace.last(), "t") or []]
    assert evaluate(workspace, saying(make), **block) == 0
    run = workspace.last()
    samples = workspace.store.samples(run, "t") or []
    assert [sample.value for sample in samples] == plain
    thoughts = run.tasks["t"].thoughts
    if form == "none":
        assert thoughts is None
        assert workspace.requests[0]["chat_template_kwargs"] == {"enable_thinking": False, "thinking": False}  # type: ignore[attr-defined]
        return
    assert thoughts is not None
    assert (thoughts.answers, thoughts.characters, thoughts.tokens) == (30, 30 * len(THOUGHT), 900)
    stored = list(workspace.store.thoughts(run, "t"))
    assert [(each.item, each.thought) for each in stored] == [(sample.item, THOUGHT) for sample in samples]
    assert {tuple(body["stop"]) for body in workspace.requests} == {()}, "a stop would cut thoughts"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("make", "finish", "block", "named"),
    [
        (lambda right: {"content": f"<think>8?</think>{right}"}, "stop", {"reasoning": "any"}, "--reasoning-parser"),
        (lambda right: {"content": f"8?</think>{right}"}, "stop", {"reasoning": "off"}, "--reasoning-parser"),
        (lambda _: {"content": "<think>8?"}, "stop", {"reasoning": "any", "think_end_token": "</think>"}, "max_empty"),
        (lambda _: {"content": None, "reasoning": "8?"}, "length", {"reasoning": "any"}, "max_unfinished"),
        (lambda _: {"content": "8? 9?"}, "length", {"reasoning": "any", "think_end_token": "##"}, "max_unfinished"),
        (lambda _: {"content": None, "reasoning": "8?"}, "stop", {"reasoning": "any"}, "nothing else"),
        (lambda right: {"content": right}, "stop", {"reasoning": "required"}, "20 of 20 answers came without"),
        (lambda right: {"content": right, "reasoning": "8?"}, "stop", {"reasoning": "off"}, "reasoning is off"),
        (lambda right: {"content": right, "reasoning": THOUGHT}, "stop", {}, "reasoning to any"),
    ],
)
def test_where_thoughts_spoil_answers_there_is_no_score_and_the_cause_is_named(
    workspace: Workspace, make: Callable[[str], Mapping[str, Any]], finish: str, block: dict[str, Any], named: str
) -> None:
    workspace.add_task("t", 20, settings={"engine": "lm_eval"})
    assert evaluate(workspace, saying(make, finish), **block) == 4
    result = workspace.last().tasks["t"]
    assert result.score is None
    assert named in " ".join(result.problems)


def test_a_few_thoughts_without_an_end_are_bounded_and_graded_as_wrong(workspace: Workspace) -> None:
    workspace.add_task("t", 20, settings={"engine": "lm_eval", "max_empty_share": 0, "max_truncated_share": 0})
    server = OpenAIServer(workspace.answers)
    ended = saying(lambda right: {"content": right, "reasoning": THOUGHT})
    endless = saying(lambda _: {"content": None, "reasoning": THOUGHT}, "length")
    server.reply = lambda body, right: (endless if right == "1" else ended)(body, right)
    assert workspace.evaluate(server, api="chat", reasoning="any") == 0
    result = workspace.last().tasks["t"]
    assert result.score == 0.95
    assert result.thoughts is not None
    assert result.thoughts.unfinished == 1


@pytest.mark.parametrize(
    ("text", "stops", "left"),
    [
        ("7\nQ", ["\n"], "7"),
        ("\n7", ["\n"], ""),
        ("7. Q: 8", ["Q:", ". "], "7"),
        ("abcd", ["bcd", "c"], "ab"),
        ("abcd", ["bc", "c"], "a"),
        ("abcd", ["x"], "abcd"),
        ("abcd", [], "abcd"),
    ],
)
def test_stops_end_an_answer_as_a_server_would_that_writes_it(text: str, stops: list[str], left: str) -> None:
    def written() -> str:
        said = ""
        for character in text:
            said += character
            ended = [said.removesuffix(stop) for stop in stops if said.endswith(stop)]
            if ended:
                return min(ended, key=len)
        return said

    assert cut_at_stop(text, stops, keep=False)[0] == written() == left


def test_an_answer_that_a_stop_ended_before_the_cut_is_not_cut() -> None:
    rule = Rule(asking=Asking(reasoning="any"), stops=("\n",))
    (said,) = spoken_of([Answer("7\nand on and", "length", "m", thought=Kept("8?"))], rule)
    assert (said.text, said.stopped) == ("7", True)


def test_a_task_wins_over_the_model_and_the_model_over_the_yaml(workspace: Workspace) -> None:
    workspace.add_task("t", 2, settings={"engine": "lm_eval", "generation": {"top_p": 0.9}})
    block = {"temperature": 0.6, "top_p": 0.5, "max_tokens": 4000, "extra_body": {"new_knob": [1]}}
    assert evaluate(workspace, None, generation=block) == 0
    (body, *_) = workspace.requests  # type: ignore[attr-defined]
    assert {key: body[key] for key in ("temperature", "top_p", "max_tokens", "new_knob", "stop")} == {
        "temperature": 0.6, "top_p": 0.9, "max_tokens": 4000, "new_knob": [1], "stop": ["\n"],
    }  # fmt: skip
    assert json.loads(workspace.last().model["generation"]) == block


@pytest.mark.parametrize(
    ("below", "above", "merged"),
    [
        ({"do_sample": False, "temperature": 0.0}, {"temperature": 0.6}, {"temperature": 0.6}),
        ({"do_sample": False}, {"do_sample": True, "temperature": 1}, {"do_sample": True, "temperature": 1}),
        ({"max_gen_toks": 256, "top_k": 1}, {"max_tokens": 9}, {"max_tokens": 9, "top_k": 1}),
        (
            {"chat_template_kwargs": {"a": 1, "b": 1}},
            {"chat_template_kwargs": {"b": 2}},
            {"chat_template_kwargs": {"a": 1, "b": 2}},
        ),
    ],
)
def test_names_of_one_thing_are_one_key(
    below: Mapping[str, Any], above: Mapping[str, Any], merged: Mapping[str, Any]
) -> None:
    assert laid_over(below, above) == merged


def test_another_block_is_another_thing_that_was_asked(workspace: Workspace) -> None:
    workspace.add_task("t", 20, settings={"engine": "lm_eval"})
    for block, verdict in (({}, "no_baseline"), ({}, "same"), ({"generation": {"top_k": 5}}, "no_baseline")):
        assert evaluate(workspace, None, **block) == 0
        comparison = workspace.last().tasks["t"].comparison
        assert comparison is not None
        assert comparison.verdict in {verdict, "inconclusive"} if verdict == "same" else comparison.verdict == verdict
