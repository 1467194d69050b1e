"""Who answers: names of one model, adapters, keys that no header can hold, addresses and prompts that cannot work."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.openai_server import OpenAIServer, Plan, running
from tests.support.workspace import MODEL, Workspace

ROOT = "/models/team-model"


def entry(name: str, root: str | None = ROOT, parent: str | None = None) -> dict[str, object]:
    return {"id": name, "object": "model", "root": root, "parent": parent, "max_model_len": 4096}


def served_as(name: str) -> Any:  # noqa: ANN401 - a reply of the server
    def reply(body: Mapping[str, Any], text: str | None) -> Mapping[str, Any]:
        return {"model": name, "choices": [{"text": text, "finish_reason": "stop"}]}

    return reply


@pytest.mark.parametrize(
    ("entries", "answers_as", "code"),
    [
        ([entry("team-model-v3"), entry("m")], "team-model-v3", 0),
        ([entry("m"), entry("team-model-v3"), entry("third")], "third", 0),
        ([entry("m"), entry("other", root="/models/other")], "other", 4),
        ([entry("m", root=None), entry("other", root=None)], "other", 4),
        # vLLM lists an adapter with its own path as root and its base as parent; others repeat the base's root.
        ([entry("base"), entry("m", root="/adapters/m", parent="base")], "base", 4),
        ([entry("base"), entry("m", parent="base")], "base", 4),
        ([entry("m"), entry("adapter", parent="m")], "adapter", 4),
        ([entry("m"), entry("adapter", root="/adapters/a", parent="m")], "m", 0),
    ],
)
@pytest.mark.parametrize("taken_over", [False, True])
def test_names_of_one_root_are_one_model_and_an_adapter_is_not_its_base(
    workspace: Workspace, entries: list[dict[str, object]], answers_as: str, code: int, taken_over: bool
) -> None:
    workspace.add_task("t", 4)
    server = OpenAIServer(workspace.answers, Plan(models=("m",)))
    server.entries = entries
    server.reply = served_as(answers_as)
    with workspace.served(server, served_name="m"):
        if taken_over:
            server.fail = lambda body: "is 3 plus" in body["prompt"]
            assert workspace.run(VLLM_EVAL_RUN_ID="one") == 3
            server.fail = None
        assert workspace.run(VLLM_EVAL_RUN_ID="one") == code


def test_answers_by_two_names_of_one_model_are_of_one_model(workspace: Workspace) -> None:
    workspace.add_task("t", 4)
    server = OpenAIServer(workspace.answers, Plan(models=("m",)))
    server.entries = [entry("m"), entry("team-model-v3")]
    server.reply = lambda body, text: served_as("m" if "is 3" in body["prompt"] else "team-model-v3")(body, text)
    assert workspace.evaluate(server, served_name="m") == 0


def test_a_name_that_moves_to_other_weights_during_the_run_gives_no_score(workspace: Workspace) -> None:
    workspace.add_task("t", 4)
    server = OpenAIServer(workspace.answers, Plan(models=("m",)))
    server.entries = [entry("m"), entry("v3")]

    def reply(body: Mapping[str, Any], text: str | None) -> Any:  # noqa: ANN401 - a reply of the server
        server.entries = [entry("m"), entry("v3", root="/models/other")]
        return served_as("v3")(body, text)

    server.reply = reply
    assert workspace.evaluate(server, served_name="m") == 4


KEY = "sk-example-0001"


@pytest.mark.parametrize("around", ["{}\n", "  {}\r\n", "\t{} \n\n", "\n{}"])
def test_white_space_around_the_key_is_taken_off(workspace: Workspace, around: str) -> None:
    workspace.add_task("t", 2)
    server = OpenAIServer(workspace.answers, Plan(api_key=KEY))
    with running(server) as url:
        arguments = ("run", "--endpoint", url, "--model", MODEL, "--served-name", "fake-model", "--tag", "v1")
        assert workspace.run(*arguments, OPENAI_API_KEY=around.format(KEY)) == 0


BAD = ["sk-example\nhidden", "sk-example hidden", "sk-example\r\nX-Evil: 1", "Bearer sk-example-hidden",
       "sk-exämple-hidden", "열쇠-hidden", "\ufeffsk-example-hidden", "sk-example\x7fhidden",
       "sk-\u2028example-hidden"]  # fmt: skip


@pytest.mark.parametrize("key", BAD)
@pytest.mark.parametrize("source", ["variable", "secret"])
def test_a_key_that_no_header_can_hold_is_refused_by_its_place_and_never_shown(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], key: str, source: str
) -> None:
    workspace.add_task("t", 2)
    server = OpenAIServer(workspace.answers)
    with running(server) as url:
        if source == "secret":
            (workspace.root / "secrets" / "team-key").write_text(key, encoding="utf-8")
            workspace.set_models(workspace.model(url, api_key="team-key"))
            assert workspace.run() == 2
        else:
            arguments = ("run", "--endpoint", url, "--model", MODEL, "--served-name", "fake-model", "--tag", "v1")
            assert workspace.run(*arguments, OPENAI_API_KEY=key) == 2
    assert not server.headers_seen
    told = "".join(capfd.readouterr())
    stored = "".join(path.read_text() for path in (workspace.root / "results").rglob("result.json"))
    assert "Traceback" not in told
    assert ("team-key" if source == "secret" else "OPENAI_API_KEY") in told
    for part in ("hidden", "example", "열쇠"):
        assert part not in told + stored


def test_a_key_of_white_space_alone_is_none(workspace: Workspace) -> None:
    workspace.add_task("t", 2)
    server = OpenAIServer(workspace.answers)
    with running(server) as url:
        arguments = ("run", "--endpoint", url, "--model", MODEL, "--served-name", "fake-model", "--tag", "v1")
        assert workspace.run(*arguments, OPENAI_API_KEY=" \n") == 0
    assert "Authorization" not in server.headers_seen[0]


def test_an_endpoint_without_v1_is_told_where_the_models_are(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace.add_task("t", 2)
    server = OpenAIServer(workspace.answers)
    with running(server) as url:
        workspace.set_models(workspace.model(url.removesuffix("/v1")))
        assert workspace.run(VLLM_EVAL_ENDPOINT_WAIT_SECONDS="30") == 2, "at once, with no retry"
    assert f"set the model's endpoint to {url}" in capfd.readouterr().err


@pytest.mark.parametrize("path", ["/v2", "/v1"])
def test_a_404_that_v1_does_not_cure_stays_an_outage(workspace: Workspace, path: str) -> None:
    workspace.add_task("t", 2)
    server = OpenAIServer(workspace.answers, Plan(models_status=404))
    with running(server) as url:
        workspace.set_models(workspace.model(url.removesuffix("/v1") + path))
        assert workspace.run() == 3


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 64 tokens. However, you requested 99 tokens (83 in the messages, 16",
        "The decoder prompt (length 99) is longer than the maximum model length of 64. Make sure that",
        "You passed 83 input tokens and requested 16 output tokens. However, the model's context length is only 64",
        "The input (99 tokens) is longer than the model's context length (64 tokens).",
        "the request exceeds the available context size. try increasing the context size or enable context shift",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 64. Given: 83 `inputs` tokens and 16",
    ],
)
def test_a_prompt_longer_than_the_context_fails_its_task_at_once_and_for_good(
    workspace: Workspace, message: str
) -> None:
    """The longest prompt is asked first, so that the others are not paid for."""
    workspace.add_task("long", 150)
    workspace.add_task("good", 3)
    server = OpenAIServer(workspace.answers)
    server.reject = lambda body: message if "long: what is 149" in body["prompt"] else False
    with (workspace.root / "data" / "long.jsonl").open("a") as data:
        data.write('{"question": "long: what is 149 plus 150, said in very many words?", "answer": "299"}\n')
    assert workspace.evaluate(server, concurrency=2) == 2
    tasks = workspace.last().tasks
    assert (tasks["good"].score, tasks["long"].score) == (1.0, None)
    (problem,) = tasks["long"].problems
    assert "item 150" in problem
    assert "--max-model-len" in problem
    assert message[:40] in problem
    assert sum("long" in body["prompt"] for body in server.requests) < 10


def test_a_token_limit_as_long_as_the_context_is_refused_before_the_first_request(workspace: Workspace) -> None:
    workspace.add_task("long", 6, max_gen_toks=4096)
    workspace.add_task("good", 3)
    server = OpenAIServer(workspace.answers)
    assert workspace.evaluate(server) == 2
    assert workspace.last().tasks["good"].score == 1.0
    assert "4096" in workspace.last().tasks["long"].problems[0]
    assert not any("long" in body["prompt"] for body in server.requests)


def test_a_proxy_of_the_environment_is_not_used_and_that_is_said_where_nothing_answers(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace.add_task("t", 2)
    server = OpenAIServer(workspace.answers)
    proxies = {"http_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    with workspace.served(server):
        assert workspace.run(**proxies) == 0
    assert workspace.run(VLLM_EVAL_FORCE="1", **proxies) == 3
    assert "HTTPS_PROXY, http_proxy" in capfd.readouterr().err.replace(
        "http_proxy, HTTPS_PROXY", "HTTPS_PROXY, http_proxy"
    )
