"""A model that thinks, on vLLM with its reasoning parser: thoughts are kept apart, and only the answer is graded."""

import json
from typing import Any

import pytest

from tests.support.vllm_server import LINE_BREAK, VllmServer
from tests.support.workspace import Workspace
from tests.vllm.conftest import NAMES
from vllm_eval.records import Sample

pytestmark = pytest.mark.vllm

# What ends a line ends a thought here. The second time, the penalty lets it end a line, and with it the answer.
ONCE = {"frequency_penalty": 2.0, "stop_token_ids": [LINE_BREAK]}
THINKS = {"chat_template_kwargs": {"enable_thinking": True}}
GENERATION = {**THINKS, **ONCE}
TOKENS = 120
ITEMS = 6


def evaluate(patient: Workspace, server: VllmServer, tokens: int = TOKENS, **block: object) -> int:
    settings = {"engine": "lm_eval", "max_empty_share": 1, "max_truncated_share": 1}
    patient.add_task("task", ITEMS, max_gen_toks=tokens, settings=settings)
    patient.set_models(patient.model(server.url, served_name=NAMES[0], api="chat", concurrency=2, **block))
    return patient.run()


def said_to(server: VllmServer, sample: Sample, **more: object) -> tuple[str | None, str | None]:
    """Ask without the runner, and without a stop; return thought and answer."""
    body = {"model": NAMES[0], "max_tokens": TOKENS, "temperature": 0, "seed": 1234, **more}
    status, answer = server.post("/v1/chat/completions", messages=json.loads(sample.prompt), **body)
    assert status == 200, answer
    message = answer["choices"][0]["message"]
    return message["reasoning"], message["content"]


def test_a_thought_that_ends_is_stored_apart_and_what_follows_is_graded(
    patient: Workspace, thinker: VllmServer
) -> None:
    assert evaluate(patient, thinker, reasoning="required", generation=GENERATION) == 0
    run = patient.last()
    samples = patient.store.samples(run, "task") or []
    thoughts = {each.item: each.thought for each in patient.store.thoughts(run, "task")}
    counted = run.tasks["task"].thoughts
    assert counted is not None
    assert (counted.answers, counted.unfinished, counted.in_text) == (ITEMS, 0, 0)
    for sample in samples:
        thought, content = said_to(thinker, sample, **THINKS, **ONCE)
        assert thoughts[sample.item] == thought
        assert sample.answer
        # The task ends an answer at its first line; in a thought, lines end nothing.
        assert sample.answer == (content or "").partition("\n")[0]
        assert sample.value == float(sample.judged == sample.target)


@pytest.mark.parametrize(
    ("block", "tokens", "named"),
    [
        ({"reasoning": "off", "generation": ONCE}, TOKENS, "--reasoning-parser"),
        ({"reasoning": "any", "generation": THINKS}, 4, "max_unfinished"),
    ],
    ids=["a thought in the answer", "thoughts that are cut"],
)
def test_where_thoughts_spoil_the_answers_there_is_no_score(
    patient: Workspace, thinker: VllmServer, block: dict[str, Any], tokens: int, named: str
) -> None:
    assert evaluate(patient, thinker, tokens, **block) == 4
    result = patient.last().tasks["task"]
    assert result.score is None
    assert named in " ".join(result.problems)
