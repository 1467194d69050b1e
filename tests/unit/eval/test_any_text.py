"""Whatever a server sends and whatever an item holds: the run ends with a record, and never with a traceback."""

import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.openai_server import OpenAIServer, Plan
from tests.support.workspace import MODEL, Workspace
from vllm_eval.answers import AnswerStore
from vllm_eval.completions import Rejected, Retry, parse_answer
from vllm_eval.records import RunResult, Sample, to_text
from vllm_eval.requests import FINISHED, Answer, Request
from vllm_eval.results import ResultStore
from vllm_eval.secrets import Redactor
from vllm_eval.storage import LocalStorage
from vllm_eval.thoughts import TAGS, without_thoughts

# Any code point: halves of surrogate pairs, NUL and line separators, too.
codes = st.characters(exclude_categories=())
words = st.sampled_from(["\ud835", "\x00", "\u2028", "7", "\n", *(tag for pair in TAGS for tag in pair), "analysis"])
texts = st.lists(st.text(codes, max_size=8) | words, max_size=6).map("".join)
reasons = st.sampled_from([*sorted(FINISHED), "length", "content_filter", "network_error", None]) | texts
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
documents = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
parts = st.fixed_dictionaries(
    {}, optional={"type": st.sampled_from(["text", "thinking"]) | documents, "text": documents}
)
messages = st.fixed_dictionaries(
    {}, optional={"content": texts | st.lists(parts, max_size=3) | documents, "refusal": documents}
)
choices = st.fixed_dictionaries(
    {}, optional={"text": texts | documents, "message": messages | documents, "finish_reason": reasons | documents,
                  "error": documents, "index": documents}
)  # fmt: skip
bodies = st.fixed_dictionaries(
    {}, optional={"choices": st.lists(choices | documents, max_size=3) | documents,
                  "model": documents, "error": documents}
)  # fmt: skip


def is_text(text: str | None) -> bool:
    return text is None or text.encode().decode() == text


@given(st.binary(max_size=60) | (bodies | documents).map(lambda body: json.dumps(body).encode()))
def test_any_body_is_an_answer_that_the_server_finished_or_a_reason_why_not(body: bytes) -> None:
    outcome = parse_answer(body, Redactor())
    if isinstance(outcome, Answer):
        assert outcome.finished
        assert all(map(is_text, (outcome.text, outcome.finish_reason, outcome.served)))
    else:
        assert isinstance(outcome, Retry | Rejected)
        assert is_text(outcome.reason)


@given(st.lists(texts, min_size=1, max_size=5), texts, texts)
def test_any_answer_is_recorded_graded_and_stored(
    tmp_path_factory: pytest.TempPathFactory, said: list[str], prompt: str, target: str
) -> None:
    storage = LocalStorage(tmp_path_factory.mktemp("any"))
    answers = {}
    store = AnswerStore(storage, "scope", max_age=60, closed={})
    for number, text in enumerate(said):
        body = json.dumps({"choices": [{"text": text, "finish_reason": "stop"}]}).encode()
        answer = parse_answer(body, Redactor())
        assert isinstance(answer, Answer)
        request = Request("t", "h", number, number, {"prompt": prompt})
        answers[request.key] = answer
        store.record(request, answer)
    store.flush()
    again = AnswerStore(storage, "scope", max_age=60, closed={})
    again.flush()
    assert {key: taken.answer for key, taken in again.taken.items()} == answers
    spoken = without_thoughts([answer.text for answer in answers.values()])
    samples = [
        Sample(item=str(number), doc_id=number, value=1.0, prompt=to_text(prompt), target=to_text([target]),
               answer=answer.text, judged=to_text(part.text), cluster=to_text(target))
        for number, (answer, part) in enumerate(zip(answers.values(), spoken, strict=True))
    ]  # fmt: skip
    results, run = ResultStore(storage), RunResult(run_id="r", stack="s", model={"name": "m"}, started=time.time())
    results.save_samples(run, "t", samples, {})
    assert results.samples(run, "t") == samples


NASTY = [
    "8 \ud835", "\udc00\ud800", "\x00\x01\x1b[31m", "\u2028\u2029\x85", "\U0001d7d8", "e\u0301", "\u202e7", "\ufeff7",
    "7" * 5000, "[" * 10_000, "<think>" * 500, "</think>" * 500, '{"answer": NaN}', "{{ 7 * 7 }}", "%s %d {0}", "",
    "word " * 200_000,
]  # fmt: skip


@pytest.mark.parametrize("engine", ["fake", "lm_eval"])
@pytest.mark.parametrize("raw", ["escaped", "utf-8"])
def test_a_run_with_strange_answers_ends_with_its_record_and_is_found_done(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], engine: str, raw: str
) -> None:
    workspace.add_task("t", 40, settings={"engine": engine})
    server = OpenAIServer(workspace.answers)
    strange = dict(zip(workspace.answers, NASTY, strict=False))

    def reply(body: Mapping[str, Any], text: str | None) -> bytes:
        said = strange.get(server.question_in(body["prompt"]) or "", text)
        document = {"choices": [{"text": said, "finish_reason": "stop"}]}
        return json.dumps(document, ensure_ascii=raw == "escaped").encode("utf-8", "surrogatepass")

    server.reply = reply
    with workspace.served(server):
        for _ in range(2):
            patient = {"VLLM_EVAL_REQUEST_TIMEOUT_SECONDS": "30"}  # on a busy machine 0.5 s pass, and it is asked again
            assert workspace.run(VLLM_EVAL_RUN_ID="one", VLLM_EVAL_FORCE="1", **patient) == 0
    assert len(server.requests) == 40
    (run,) = workspace.store.runs("default", MODEL)
    assert run.ended is not None
    assert run.tasks["t"].score is not None
    assert run.tasks["t"].score >= 1 - len(NASTY) / 40
    assert len(workspace.store.samples(run, "t") or []) == 40
    assert workspace.run("report", "--wrong", "40") == 0
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "body",
    [b"\xff\xfe\x00\x01", b"[" * 100_000, b'{"choices": null}', b'{"choices": [{"text": 7, "finish_reason": "stop"}]}',
     b'{"choices": [{"message": null}]}', b'{"choices": {}}', b'{"choices": [{"text": "7", "index": 1e999}]}', b"null",
     b'{"choices": [{"text": "7", "index": ' + b"9" * 5000 + b"}]}", b"<html>busy</html>", b""],
)  # fmt: skip
def test_a_body_that_is_no_completion_is_an_outage_with_a_record(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], body: bytes
) -> None:
    workspace.add_task("t", 3)
    server = OpenAIServer(workspace.answers)
    server.reply = lambda asked, text: body
    assert workspace.evaluate(server) == 3
    assert workspace.last().tasks["t"].cause == "endpoint"
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("engine", ["fake", "lm_eval"])
def test_equal_questions_are_asked_once_and_every_item_is_judged(workspace: Workspace, engine: str) -> None:
    workspace.add_task("t", 8, settings={"engine": engine})
    workspace.add_task("other", 8, settings={"engine": engine})
    rows = [{"question": "Which way is up?", "answer": "up"}] * 5
    for task in ("t", "other"):
        with (workspace.root / "data" / f"{task}.jsonl").open("a") as data:
            # Items differ in a field that is not asked, so that they are items of their own.
            data.writelines(json.dumps({"id": number, **row}) + "\n" for number, row in enumerate(rows))
    server = OpenAIServer({**workspace.answers, "Which way is up?": "up"}, Plan(latency=0.05))
    assert workspace.evaluate(server, concurrency=32) == 0
    asked = Counter(body["prompt"] for body in server.requests if "up?" in body["prompt"])
    assert sum(asked.values()) == 2, "once for each task"
    for task in ("t", "other"):
        assert (workspace.last().tasks[task].score, workspace.last().tasks[task].samples) == (1.0, 13)


def test_a_task_whose_code_ends_the_process_costs_its_own_score_only(workspace: Workspace) -> None:
    workspace.add_task("good", 3, settings={"engine": "lm_eval"})
    workspace.add_task("bad", 3, settings={"engine": "lm_eval"})
    (workspace.root / "tasks" / "leaving.py").write_text("def judge(doc, results):\n    raise SystemExit(0)\n")
    path = workspace.root / "tasks" / "bad.yaml"
    path.write_text(path.read_text() + "process_results: !function leaving.judge\n")
    assert workspace.evaluate(OpenAIServer(workspace.answers)) == 2
    tasks = workspace.last().tasks
    assert (tasks["good"].score, tasks["bad"].cause) == (1.0, "input")
    assert "sys.exit(0)" in tasks["bad"].problems[0]


def test_the_answer_to_equal_questions_is_taken_over_for_each(workspace: Workspace) -> None:
    workspace.add_task("t", 8)
    data = workspace.root / "data" / "t.jsonl"
    data.write_text('{"question": "Which way is up?", "answer": "up"}\n' * 3 + data.read_text())
    server = OpenAIServer({**workspace.answers, "Which way is up?": "up"})
    server.reject = lambda body: "6 plus" in body["prompt"]
    with workspace.served(server, concurrency=1):
        assert workspace.run(VLLM_EVAL_RUN_ID="one") == 3
        first = [body["prompt"] for body in server.requests]
        server.reject = None
        assert workspace.run(VLLM_EVAL_RUN_ID="one") == 0
    second = [body["prompt"] for body in server.requests][len(first) :]
    assert "Which way is up?" in first
    assert not set(first) & set(second)
    assert (workspace.last().tasks["t"].score, workspace.last().tasks["t"].samples) == (1.0, 11)


def test_equal_questions_of_which_one_fails_fail_alike(workspace: Workspace) -> None:
    workspace.add_task("t", 8)
    with (workspace.root / "data" / "t.jsonl").open("a") as data:
        data.writelines(json.dumps({"question": "Which way is up?", "answer": "up"}) + "\n" for _ in range(3))
    server = OpenAIServer(workspace.answers)
    server.reject = lambda body: "up?" in body["prompt"]
    assert workspace.evaluate(server) == 3
    assert workspace.last().tasks["t"].score is None
    assert workspace.last().ended is not None


def test_an_item_that_no_request_can_hold_is_refused_by_its_number(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace.add_task("t", 3, settings={"engine": "lm_eval"})
    half = "def text(doc):\n    return doc['question'] + ('\\ud835' if '1 plus' in doc['question'] else '')\n"
    (workspace.root / "tasks" / "half.py").write_text(half)
    path = workspace.root / "tasks" / "t.yaml"
    path.write_text(re.sub("doc_to_text: .*", "doc_to_text: !function half.text", path.read_text()))
    server = OpenAIServer(workspace.answers)
    assert workspace.evaluate(server) == 2
    assert not server.requests
    error = capfd.readouterr().err
    assert "Traceback" not in error
    assert "t: item 1" in error
    assert workspace.last().ended is not None
