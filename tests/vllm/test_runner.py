"""The runner's main paths on vLLM itself, with a small real model."""

import json
import re
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.vllm_server import VllmServer
from tests.support.workspace import Workspace
from tests.vllm.conftest import LORA, NAMES
from vllm_eval.records import Sample

pytestmark = pytest.mark.vllm

LM_EVAL = {"engine": "lm_eval", "max_empty_share": 1, "max_truncated_share": 1}


def add_task(evaluation: Workspace, count: int = 12, **changes: str) -> None:
    """Add a task whose YAML has some text replaced: the keys of ``changes`` name whole lines by their first word."""
    evaluation.add_task("task", count, settings=LM_EVAL)
    file = evaluation.root / "tasks/task.yaml"
    text = file.read_text()
    for key, line in changes.items():
        [old] = re.findall(rf"(?m)^ *{key}:.*$", text)
        indented = old[: len(old) - len(old.lstrip())]
        text = text.replace(old, indented + line)
    file.write_text(text)


def samples(evaluation: Workspace) -> list[Sample]:
    run = evaluation.last()
    assert run.tasks["task"].score is not None, run.tasks["task"]
    return evaluation.store.samples(run, "task") or []


def asked(vllm: VllmServer, sample: Sample, api: str) -> str:
    """Ask vLLM for the sample's answer without the runner."""
    body: dict[str, Any] = {"model": NAMES[0], "max_tokens": 16, "temperature": 0, "stop": ["\n"], "seed": 1234}
    if api == "chat":
        _, answer = vllm.post("/v1/chat/completions", messages=json.loads(sample.prompt), **body)
        return str(answer["choices"][0]["message"]["content"] or "")
    _, answer = vllm.post("/v1/completions", prompt=sample.prompt, **body)
    return str(answer["choices"][0]["text"])


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_answers_are_what_vllm_says(evaluation: Workspace, vllm: VllmServer, api: str) -> None:
    add_task(evaluation)
    evaluation.set_models(evaluation.model(vllm.url, served_name=NAMES[0], api=api, concurrency=4))
    assert evaluation.run() == 0
    found = samples(evaluation)
    assert len(found) == 12
    # bfloat16 sums differ with what else is in the batch: where two tokens are near, another one wins.
    same = sum(sample.answer == asked(vllm, sample, api) for sample in found)
    assert same >= 10
    assert all("\n" not in (sample.answer or "") for sample in found)


def test_repeats_are_samples_of_their_own_and_come_again(evaluation: Workspace) -> None:
    add_task(evaluation, 4, output_type="output_type: generate_until\nrepeats: 3", do_sample="do_sample: true",
             temperature="temperature: 1.5")  # fmt: skip
    assert evaluation.run(VLLM_EVAL_RUN_ID="first") == 0
    assert evaluation.last().asked == 12


def test_a_prompt_that_does_not_fit_is_the_items_fault(
    evaluation: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    add_task(evaluation, 4, doc_to_text='doc_to_text: "{{ question * 400 }}"')
    assert evaluation.run() == 2
    said = capsys.readouterr().err
    assert "do not fit into the model's context" in said
    assert "--max-model-len" in said


@pytest.mark.parametrize(
    ("setting", "said"),
    [("top_p: 7", "top_p"), ("min_tokens: 900", "min_tokens"), ("logit_bias: {'-5': 1}", "logit_bias")],
)
def test_what_vllm_refuses_is_told_in_its_words(
    evaluation: Workspace, capsys: pytest.CaptureFixture[str], setting: str, said: str
) -> None:
    add_task(evaluation, 4, temperature=f"temperature: 0.0\n  {setting}")
    assert evaluation.run() in {2, 3}
    told = capsys.readouterr().err
    assert "HTTP 400" in told
    assert said in told
    assert evaluation.last().tasks["task"].score is None


@pytest.mark.parametrize("name", [*NAMES, LORA])
def test_every_name_of_the_server_can_be_evaluated(evaluation: Workspace, vllm: VllmServer, name: str) -> None:
    add_task(evaluation, 4)
    evaluation.set_models(evaluation.model(vllm.url, served_name=name, concurrency=4))
    assert evaluation.run() == 0
    assert len(samples(evaluation)) == 4


def test_a_name_that_is_not_served_is_refused_with_those_that_are(
    evaluation: Workspace, vllm: VllmServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_task(evaluation, 4)
    monkeypatch.setattr("vllm_eval.endpoint.WRONG_MODEL_GRACE_SECONDS", 0.0)
    evaluation.set_models(evaluation.model(vllm.url, served_name="another"))
    assert evaluation.run() == 2
    told = capsys.readouterr().err
    assert all(name in told for name in (*NAMES, LORA))


def test_a_stopped_run_leaves_vllm_nothing_to_do(evaluation: Workspace, vllm: VllmServer) -> None:
    add_task(evaluation, 12, max_gen_toks="max_gen_toks: 1500\n  min_tokens: 1400", until="until: []")
    process = evaluation.start()
    try:
        until(lambda: vllm.metric("vllm:num_requests_running") == 4)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143
        until(lambda: vllm.metric("vllm:num_requests_running") == 0, seconds=10)
    finally:
        process.kill()
        process.communicate()


def test_a_restart_in_mid_run_costs_only_what_was_under_way(evaluation: Workspace, vllm: VllmServer) -> None:
    add_task(evaluation, 60)
    process = evaluation.start(VLLM_EVAL_RUN_ID="through")
    try:
        until(lambda: evaluation.recorded() >= 15)
        vllm.kill()
        before = evaluation.recorded()
        vllm.start()
        _, errors = process.communicate(timeout=240)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, errors
    run = evaluation.last()
    assert (run.run_id, run.asked) == ("through", 60)
    # vLLM counts since it started again: what was answered before was not asked twice.
    assert vllm.metric("vllm:request_success_total") <= 60 - before + 4


def test_the_run_after_a_servers_death_takes_over_what_was_answered(evaluation: Workspace, vllm: VllmServer) -> None:
    add_task(evaluation, 40)
    process = evaluation.start(VLLM_EVAL_RUN_ID="first")
    until(lambda: evaluation.recorded() >= 10)
    process.kill()
    process.communicate()
    recorded = evaluation.recorded()
    assert evaluation.run(VLLM_EVAL_RUN_ID="second") == 0
    run = evaluation.last()
    assert (run.taken_over, run.asked) == (recorded, 40 - recorded)


def until(probe: Callable[[], bool], seconds: float = 120) -> None:
    limit = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < limit
        time.sleep(0.05)
