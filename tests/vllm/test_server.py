"""What the runner relies on, asked of vLLM itself: if one of these fails after an update, the runner must change."""

from typing import Any

import pytest

from tests.support.vllm_server import VllmServer
from tests.vllm.conftest import NAMES

pytestmark = pytest.mark.vllm

PROMPT = "Question: Which is the capital of France?\nAnswer:"
FIRST_TOKEN = {
    "max_tokens": 1, "temperature": 0, "logprobs": 1, "return_token_ids": True, "return_tokens_as_token_ids": True,
}  # fmt: skip


def completion(vllm: VllmServer, **body: Any) -> Any:  # noqa: ANN401 - JSON
    status, answer = vllm.post("/v1/completions", model=NAMES[0], **body)
    assert status == 200, answer
    return answer["choices"][0]


def tokens(vllm: VllmServer, text: str, *, special: bool = True) -> list[int]:
    status, answer = vllm.post("/tokenize", model=NAMES[0], prompt=text, add_special_tokens=special)
    assert status == 200
    found: list[int] = answer["tokens"]
    return found


def test_the_server_puts_a_bos_before_a_text_and_nothing_before_ids(vllm: VllmServer) -> None:
    plain = tokens(vllm, PROMPT, special=False)
    assert tokens(vllm, PROMPT) == [2, *plain]
    for prompt, sent in ((PROMPT, [2, *plain]), (plain, plain), ([2, *plain], [2, *plain])):
        assert completion(vllm, prompt=prompt, **FIRST_TOKEN)["prompt_token_ids"] == sent


def test_both_routes_give_a_token_the_same_value(vllm: VllmServer) -> None:
    context = tokens(vllm, PROMPT)
    for choice in (" Paris", " Berlin", " A"):
        [ident] = tokens(vllm, choice, special=False)
        asked = completion(vllm, prompt=context, **FIRST_TOKEN, logprob_token_ids=[ident])
        value = asked["logprobs"]["top_logprobs"][0][f"token_id:{ident}"]
        echoed = completion(vllm, prompt=[*context, ident], **FIRST_TOKEN, echo=True)
        assert echoed["prompt_token_ids"] == [*context, ident]
        # The echo's last value is that of the one generated token.
        values = echoed["logprobs"]["token_logprobs"]
        assert values[0] is None
        assert values[len(context)] == pytest.approx(value, abs=0.05)
        assert value < 0


def test_asked_ids_come_beside_the_likeliest_and_the_chosen_token(vllm: VllmServer) -> None:
    wanted = [token for letter in "ABCDEFGHIJ" for token in tokens(vllm, f" {letter}", special=False)]
    top = completion(vllm, prompt=PROMPT, **FIRST_TOKEN, logprob_token_ids=wanted)["logprobs"]["top_logprobs"][0]
    assert {f"token_id:{ident}" for ident in wanted} <= set(top)
    assert all(value <= 0 for value in top.values())


def test_a_seed_gives_a_sample_again_and_another_seed_another(vllm: VllmServer) -> None:
    body = {"prompt": "Once upon a time", "max_tokens": 24, "temperature": 1.0}
    texts = [completion(vllm, **body, seed=seed)["text"] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_thoughts_come_apart_where_the_template_opens_one(vllm: VllmServer) -> None:
    body: dict[str, Any] = {
        "model": NAMES[0], "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 24, "temperature": 0,
    }  # fmt: skip
    messages = []
    for kwargs in ({}, {"enable_thinking": True}):
        status, answer = vllm.post("/v1/chat/completions", **body, chat_template_kwargs=kwargs)
        assert status == 200, answer
        messages.append(answer["choices"][0]["message"])
    plain, thinking = messages
    assert plain["reasoning"] is None
    assert plain["content"]
    # A model that was never taught to think does not end a thought: what the limit cuts in it is no content.
    assert thinking["reasoning"]
    assert thinking["content"] is None
