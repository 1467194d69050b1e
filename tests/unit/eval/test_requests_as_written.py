"""The request is what the task's YAML says, or the task is refused by the key's name before the first request."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.openai_server import OpenAIServer, Plan, share
from tests.support.workspace import Workspace
from vllm_eval.generation import Generation, differences, read_generation
from vllm_eval.requests import Request

REAL = {"engine": "lm_eval"}
GENERATION = re.compile(r"generation_kwargs:\n(  .*\n)+")


def set_generation(workspace: Workspace, text: str, more: str = "") -> None:
    """Give the task `t` other generation settings, and further keys."""
    path = workspace.root / "tasks" / "t.yaml"
    path.write_text(GENERATION.sub(lambda _: f"generation_kwargs: {text}\n", path.read_text()) + more)


@pytest.mark.parametrize("api", ["completions", "chat"])
@pytest.mark.parametrize(
    ("generation", "sent"),
    [
        (
            '{until: ["1.", "2.", "3.", "4.", "5.", "6."], max_gen_toks: 9}',
            {"stop": ["1.", "2.", "3.", "4.", "5.", "6."], "max_tokens": 9, "temperature": 0, "seed": 1234},
        ),
        ('{until: "\\n", max_new_tokens: 2000, do_sample: false}', {"stop": ["\n"], "max_tokens": 2000}),
        ("{until: [], max_completion_tokens: 12}", {"stop": [], "max_tokens": 12}),
        ("{max_tokens: 12, max_gen_toks: 12}", {"stop": ["\n\n"], "max_tokens": 12}),
        ("{do_sample: false, temperature: 0.7}", {"temperature": 0, "max_tokens": 256}),
        ("{do_sample: true}", {"temperature": 1.0}),
        ("{do_sample: true, temperature: 0.6, top_p: 0.9, seed: 7}", {"temperature": 0.6, "top_p": 0.9, "seed": 7}),
        ("{temperature: 0.6, num_beams: 1, n: 1}", {"temperature": 0.6}),
        ("{chat_template_kwargs: {enable_thinking: false}}", {"chat_template_kwargs": {"enable_thinking": False}}),
    ],
)
def test_generation_settings_are_sent_whole(
    workspace: Workspace, api: str, generation: str, sent: Mapping[str, Any]
) -> None:
    workspace.add_task("t", 2, settings=REAL)
    set_generation(workspace, generation)
    server = OpenAIServer(workspace.answers)
    assert workspace.evaluate(server, api=api) == 0
    for body in server.requests:
        assert {key: body[key] for key in sent} == sent
        assert not {"until", "do_sample", "max_new_tokens", "max_gen_toks", "num_beams", "n"} & set(body)


@pytest.mark.parametrize(
    ("generation", "named"),
    [
        ("{untill: ['x']}", ("generation_kwargs.untill", "until")),
        ("{max_gen_tok: 9}", ("generation_kwargs.max_gen_tok", "max_gen_toks")),
        ("{max_new_token: 9}", ("generation_kwargs.max_new_token", "max_new_tokens")),
        ("{temprature: 0.5}", ("generation_kwargs.temprature", "temperature")),
        ("{frobnicate: 1}", ("generation_kwargs.frobnicate", "remove")),
        ("{max_length: 2048}", ("generation_kwargs.max_length", "max_gen_toks")),
        ("{stop: ['x']}", ("generation_kwargs.stop", "until")),
        ("{max_gen_toks: 9, max_new_tokens: 10}", ("max_gen_toks 9", "max_new_tokens 10")),
        ("{max_gen_toks: '9'}", ("generation_kwargs.max_gen_toks", '"9"')),
        ("{max_gen_toks: 0}", ("generation_kwargs.max_gen_toks", "0")),
        ("{max_gen_toks: 1.5}", ("generation_kwargs.max_gen_toks", "1.5")),
        ("{max_gen_toks: true}", ("generation_kwargs.max_gen_toks", "true")),
        ("{until: ['']}", ("generation_kwargs.until", '""')),
        ("{until: [1]}", ("generation_kwargs.until", "1")),
        ("{do_sample: 'false'}", ("generation_kwargs.do_sample", '"false"')),
        ("{temperature: -1}", ("generation_kwargs.temperature", "-1")),
        ("{temperature: .nan}", ("generation_kwargs.temperature", "NaN")),
        ("{temperature: hot}", ("generation_kwargs.temperature", "hot")),
        ("{seed: 1.5}", ("generation_kwargs.seed", "1.5")),
        ("{num_beams: 10}", ("generation_kwargs.num_beams", "10")),
        ("{n: 5}", ("generation_kwargs.n", "repeats")),
        ("{stream: true}", ("generation_kwargs.stream", "remove")),
        ("{enable_thinking: false}", ("generation_kwargs.enable_thinking", "chat_template_kwargs")),
        ("{top_p: .inf}", ("generation_kwargs.top_p", "JSON")),
        ("{extra_body: {top_k: 5}}", ("generation_kwargs.extra_body", "beside")),
        ("[1]", ("generation_kwargs", "mapping")),
    ],
)
@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_wrong_generation_key_is_refused_by_name_before_the_first_request(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], generation: str, named: tuple[str, ...], command: str
) -> None:
    workspace.add_task("t", 2, settings=REAL)
    set_generation(workspace, generation)
    server = OpenAIServer(workspace.answers)
    assert workspace.evaluate(server, command) == 2
    assert not server.requests
    error = capfd.readouterr().err
    assert "Traceback" not in error
    assert all(name in error for name in ("t: ", *named)), error


@pytest.mark.parametrize(
    ("file", "text", "key"),
    [
        ("t.yaml", "repeats: 2\nrepeats: 3\n", "repeats"),
        ("t.yaml", "metadata: {version: 1, version: 2}\n", "version"),
        ("common.yaml", "description: a\nnum_fewshot: 0\ndescription: b\n", "description"),
    ],
)
def test_a_key_that_stands_twice_is_refused_by_name_file_and_line(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], file: str, text: str, key: str
) -> None:
    workspace.add_task("t", 2, settings=REAL)
    path = workspace.root / "tasks" / "t.yaml"
    before = path.read_text().replace("metadata:\n  version: 1\n", "")
    path.write_text(before + (text if file == "t.yaml" else f"include: {file}\n"))
    if file != "t.yaml":
        (workspace.root / "tasks" / file).write_text(text)
    assert workspace.run("validate") == 2
    error = capfd.readouterr().err
    line = (path.parent / file).read_text().rstrip().count("\n") + 1
    assert f"the key {key!r} is there twice" in error
    assert re.search(rf"{file}.*line {line}\b", error, re.DOTALL)


def test_a_key_of_an_include_may_be_laid_over_and_merged(workspace: Workspace) -> None:
    workspace.add_task("t", 2, settings=REAL)
    (workspace.root / "tasks" / "common.yaml").write_text("num_fewshot: 3\nmetadata: &m {version: 1}\n")
    path = workspace.root / "tasks" / "t.yaml"
    path.write_text(f"include: common.yaml\nnum_fewshot: 0\n{path.read_text()}  <<: {{version: 2, more: 3}}\n")
    assert workspace.run("validate") == 0


def test_a_prefix_of_the_answer_is_continued_over_chat(workspace: Workspace) -> None:
    workspace.add_task("t", 4, settings=REAL)
    set_generation(workspace, '{until: ["\\n"], max_gen_toks: 32}', 'gen_prefix: "The sum is"\nnum_fewshot: 1\n')
    path = workspace.root / "tasks" / "t.yaml"
    path.write_text(
        path.read_text()
        + "fewshot_config: {sampler: first_n, samples: [{question: how much is 1 plus 1, answer: two}]}\n"
    )
    server = OpenAIServer(workspace.answers)

    def reply(body: Mapping[str, Any], _: str | None) -> Mapping[str, Any]:
        *_, question, last = body["messages"]
        right = workspace.answers[question["content"].removeprefix("Question: ").removesuffix("\nAnswer:").strip()]
        continued = body.get("continue_final_message") is True and body.get("add_generation_prompt") is False
        text = f" {right}" if continued and last == {"role": "assistant", "content": "The sum is"} else "The sum is 0"
        return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}

    server.reply = reply
    assert workspace.evaluate(server, api="chat") == 0
    assert workspace.last().tasks["t"].score == 1.0
    assert [message["role"] for message in server.requests[0]["messages"]] == ["user", "assistant"] * 2


def test_chat_requests_without_a_prefix_carry_no_flag_that_other_servers_refuse(workspace: Workspace) -> None:
    workspace.add_task("t", 2, settings=REAL)
    server = OpenAIServer(workspace.answers)
    assert workspace.evaluate(server, api="chat") == 0
    assert set(server.requests[0]) == {"messages", "model", "max_tokens", "temperature", "stop", "seed"}


@pytest.mark.parametrize("repeats", ["0", "-1", "'5'", "1.5", "true", "null"])
def test_repeats_that_are_no_number_of_answers_are_refused(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], repeats: str
) -> None:
    workspace.add_task("t", 2, settings=REAL)
    set_generation(workspace, "{max_gen_toks: 9}", f"repeats: {repeats}\n")
    assert workspace.run("validate") == 2
    assert "t: repeats: must be a whole number" in capfd.readouterr().err


def test_repeats_are_samples_of_their_own_and_a_second_run_asks_the_same(workspace: Workspace) -> None:
    workspace.add_task("t", 6, settings=REAL)
    set_generation(workspace, '{until: ["\\n"], max_gen_toks: 32, temperature: 0.8, do_sample: true}', "repeats: 5\n")
    path = workspace.root / "tasks" / "t.yaml"
    path.write_text(
        path.read_text().replace("- function: take_first", "- function: majority_vote\n      - function: take_first")
    )
    server = OpenAIServer(workspace.answers, Plan())
    server.reply = lambda body, text: {
        "choices": [{"text": text if share(json.dumps(body, sort_keys=True)) < 0.6 else "50", "finish_reason": "stop"}]
    }
    asked = []
    with workspace.served(server):
        for name in ("first", "second"):
            assert workspace.run(VLLM_EVAL_RUN_ID=name) == 0
            seeds: dict[str, set[int]] = defaultdict(set)
            for body in server.requests:
                seeds[body["prompt"]].add(body["seed"])
            assert list(seeds.values()) == [set(range(1234, 1239))] * 6
            asked.append(sorted(json.dumps(body, sort_keys=True) for body in server.requests))
            server.requests.clear()
    assert asked[0] == asked[1]
    first, second = (run.tasks["t"] for run in workspace.store.runs("default", "org/fake-model"))
    assert (first.score, first.samples) == (second.score, 6)


def test_what_is_sent_is_compared_with_the_yaml_before_the_first_request(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A version of lm_eval that lost a stop on its way would be refused, by item and key."""
    workspace.add_task("t", 5, settings=REAL)
    set_generation(workspace, '{until: ["A", "B"], max_gen_toks: 9}')
    from vllm_eval.engines.lm_eval_model import PooledModel

    build = PooledModel._request

    def losing(
        self: PooledModel, task: str, doc_id: int, repeat: int, context: str, settings: dict[str, Any]
    ) -> Request:
        return build(self, task, doc_id, repeat, context, {**settings, "until": settings["until"][:1]})

    monkeypatch.setattr(PooledModel, "_request", losing)
    server = OpenAIServer(workspace.answers)
    assert workspace.evaluate(server) == 2
    assert not server.requests
    error = capfd.readouterr().err
    assert "t: item 0: stop is" in error
    assert "2 more items" in error


def test_differences_names_each_parameter_that_is_not_as_written() -> None:
    wanted, problems = read_generation({"until": ["a"], "max_gen_toks": 5, "do_sample": True, "top_k": 3, "seed": 9})
    assert (wanted, problems) == (
        Generation(stops=("a",), max_tokens=5, temperature=1.0, seed=9, others={"top_k": 3}), []
    )  # fmt: skip
    payload = wanted.parameters(seed=1, repeat=2)
    assert payload["seed"] == 11
    assert differences(payload, wanted, seed=1, repeat=2) == []
    for key in payload:
        (line,) = differences({**payload, key: "other"}, wanted, seed=1, repeat=2)
        assert line.startswith(f"{key} is")
    assert differences({**payload, "n": 5}, wanted, seed=1, repeat=2)
