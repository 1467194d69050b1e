"""Thoughts in the text of an answer are not graded, and where nothing else came there is no score."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.support.openai_server import OpenAIServer
from tests.support.workspace import Workspace
from vllm_eval.thoughts import TAGS, Spoken, without_thoughts


def graded(text: str) -> Spoken:
    return without_thoughts([text])[0]


@pytest.mark.parametrize(("opening", "closing"), TAGS)
def test_a_thought_is_cut_at_its_end_for_every_known_tag(opening: str, closing: str) -> None:
    assert graded(f"{opening}\nIs it 8? No.\n{closing}\n\n7") == Spoken("7", thought=True)
    assert graded(f"Is it 8? No.\n{closing}\n\n7") == Spoken("7", thought=True), "opened by the template"
    assert graded(f"{opening}\nIs it 8? N") == Spoken("", thought=True)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("\n <think>a</think>7", "7"),
        ("<think>a<think>b</think>c</think>7", "7"),
        ("<think>the tag <think> opens</think>7", "7"),
        ("<think>I close with </think> soon</think>7", "7"),
        ("<think>a</think><think>b</think>7", "7"),
        ("<think>a</think>7<think>b</think>", "7"),
        ("<think>a</think>7\n<think>is it", "7"),
        ("<think></think>7", "7"),
        ("<think>a</think>It writes <thought> then.", "It writes <thought> then."),
        ("<think>a</think>[THINK]b[/THINK]7", "7"),
        ("<think>a</think>", ""),
        ("analysisWe add.assistantfinal7", "7"),
        ("analysis of the sum: 7", "analysis of the sum: 7"),
        ("The tag <think> opens a thought", "The tag <think> opens a thought"),
        ("", ""),
    ],
)
def test_nested_repeated_and_quoted_tags(text: str, answer: str) -> None:
    assert graded(text).text == answer
    assert graded(text).only_thought is (not answer and bool(text))


def test_an_answer_that_writes_a_closing_tag_as_a_word_stays_as_it_is() -> None:
    texts = ["7"] * 999 + ["A thought ends with </think>."]
    assert without_thoughts(texts)[-1] == Spoken("A thought ends with </think>.")


Reply = Callable[[Mapping[str, Any], str | None], Mapping[str, Any]]


def replying(make: Callable[[str], str], stops: tuple[str, ...] = ()) -> Reply:
    """Answer over the chat API with ``make(right answer)``, ended as vLLM does before the first of the stops.

    ``stops`` are further ones, for the fake engine, which sends none.
    """

    def reply(body: Mapping[str, Any], text: str | None) -> Mapping[str, Any]:
        said = make(text or "")
        for stop in (*(body.get("stop") or ()), *stops):
            said = said.partition(stop)[0]
        return {"choices": [{"index": 0, "message": {"content": said}, "finish_reason": "stop"}]}

    return reply


@pytest.mark.parametrize("engine", ["lm_eval", "fake"])
def test_answers_after_thoughts_are_graded(
    workspace: Workspace, engine: str, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace.add_task("t", 6, settings={"engine": engine})
    path = workspace.root / "tasks" / "t.yaml"
    path.write_text(path.read_text().replace('until: ["\\n"]', 'until: ["</s>"]'))
    server = OpenAIServer(workspace.answers)
    server.reply = replying(lambda right: f"<think>\nIs it 8?\n</think>\n\n{right}")
    assert workspace.evaluate(server, api="chat") == 0
    result = workspace.last().tasks["t"]
    assert (result.score, result.empty) == (1.0, 0)
    (sample, *_) = workspace.store.samples(workspace.last(), "t") or []
    assert (sample.answer or "").startswith("<think>"), "what the server sent is kept"
    if engine == "lm_eval":
        assert "--reasoning-parser" in capfd.readouterr().err


@pytest.mark.parametrize("engine", ["lm_eval", "fake"])
@pytest.mark.parametrize("where", ["cut in the thought", "cut after it", "unclosed"])
def test_thoughts_that_a_stop_cuts_give_no_score_and_name_the_servers_flag(
    workspace: Workspace, engine: str, where: str
) -> None:
    workspace.add_task("t", 6, settings={"engine": engine, "max_truncated_share": 1.0})
    server = OpenAIServer(workspace.answers)
    said = {
        "cut in the thought": "<think>\n8?</think>",
        "cut after it": "<think>8?</think>\n",
        "unclosed": "<think>8?",
    }[where]
    server.reply = replying(lambda right: f"{said}{right}", ("\n",))
    assert workspace.evaluate(server, api="chat") == 4
    result = workspace.last().tasks["t"]
    assert (result.score, result.empty, result.cause) == (None, 6, "verification")
    assert "--reasoning-parser" in result.problems[0]


def test_a_few_unclosed_thoughts_are_bounded_as_empty_answers_are(workspace: Workspace) -> None:
    workspace.add_task("t", 20)
    server = OpenAIServer(workspace.answers)
    server.reply = replying(lambda right: "<think>never ends" if right == "1" else f"<think>a</think>{right}")
    assert workspace.evaluate(server, api="chat") == 0
    result = workspace.last().tasks["t"]
    assert (result.score, result.empty) == (0.95, 1)
