"""Parts that whole runs reach only sometimes: keys, answers, storage, progress, redaction, unforeseen errors."""

import io
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.openai_server import OpenAIServer
from tests.support.workspace import MODEL, Workspace
from vllm_eval import publish
from vllm_eval.answers import AnswerStore, drop_stale, scope_of
from vllm_eval.completions import retry_after
from vllm_eval.engines.fake import FakeEngine
from vllm_eval.pool import PoolStats
from vllm_eval.progress import Progress
from vllm_eval.records import RunResult
from vllm_eval.requests import Answer, Request
from vllm_eval.results import ResultStore
from vllm_eval.secrets import REDACTED, Redactor
from vllm_eval.storage import LocalStorage, RemoteStorage, Storage

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
payloads = st.dictionaries(st.text(max_size=8), json_values, max_size=4)
requests = st.builds(
    Request, task=st.just("t"), task_hash=st.sampled_from(["h1", "h2"]), doc_id=st.integers(0, 3),
    repeat=st.integers(0, 2), payload=payloads,
)  # fmt: skip


def said(request: Request) -> str:
    return json.dumps([request.task_hash, request.repeat, request.payload], sort_keys=True)


@given(requests, requests)
def test_answers_have_one_name_exactly_if_the_same_was_asked(one: Request, two: Request) -> None:
    assert (one.key == two.key) is (said(one) == said(two))


@given(payloads)
def test_the_order_of_keys_does_not_change_the_name(payload: dict[str, Any]) -> None:
    turned = dict(reversed(payload.items()))
    assert Request("t", "h", 0, 0, payload).key == Request("t", "h", 0, 0, turned).key


identities = st.fixed_dictionaries({name: st.sampled_from(["a", "b"]) for name in ("name", "tag", "endpoint", "api")})


@given(identities, identities, st.sampled_from(["s", "t"]), st.sampled_from([None, "r"]))
def test_scopes_are_apart_if_anything_is(
    one: dict[str, str], two: dict[str, str], stack: str, root: str | None
) -> None:
    assert (scope_of("s", one, "r") == scope_of(stack, two, root)) is ((one, "s", "r") == (two, stack, root))


@given(st.lists(st.tuples(st.text(max_size=20) | st.none(), st.sampled_from(["stop", "length"])), max_size=8))
def test_recorded_answers_are_read_back_as_given(
    tmp_path_factory: pytest.TempPathFactory, given_answers: list[tuple[str | None, str]]
) -> None:
    storage = LocalStorage(tmp_path_factory.mktemp("answers"))
    store = AnswerStore(storage, "scope", max_age=60, closed={})
    asked = {}
    for number, (text, finish) in enumerate(given_answers):
        request = Request("t", "h", number, 0, {"prompt": number})
        asked[request.key] = Answer(text, finish, "m")
        store.record(request, asked[request.key])
    store.flush()
    again = AnswerStore(storage, "scope", max_age=60, closed={})
    again.flush()
    assert {key: taken.answer for key, taken in again.taken.items()} == asked


def test_closing_keeps_the_answers_of_unfinished_tasks_only(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    store = AnswerStore(storage, "scope", max_age=60, closed={})
    for task_hash in ("done", "open"):
        store.record(Request("t", task_hash, 0, 0, {}), Answer("x", "stop", None))
    store.close(["open"])
    again = AnswerStore(storage, "scope", max_age=60, closed={})
    assert [taken.task_hash for taken in again.taken.values()] == ["open"]
    again.close([])
    assert storage.list("answers") == []


def test_answers_that_nobody_will_take_over_are_dropped(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    for scope, age in (("old", 2 * 86400), ("new", 60)):
        storage.write(f"answers/{scope}/{int((time.time() - age) * 1e9)}-1.jsonl", b"{}\n")
    storage.write("answers/strange/readme.txt", b"")
    drop_stale(storage, max_age=3600)
    assert storage.list("answers") == ["new", "strange"]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3", 3.0), ("0.5", 0.5), (None, None), ("-1", None), ("soon", None), ("nan", None), ("1e9", None),
     ("Thu, 01 Jan 2099 00:00:00 GMT", None)],
)  # fmt: skip
def test_retry_after_is_read_in_seconds_only(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


@pytest.fixture(params=["local", "remote"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return LocalStorage(tmp_path) if request.param == "local" else RemoteStorage(f"memory://{tmp_path.name}")


def test_every_storage_keeps_the_same_promises(storage: Storage) -> None:
    assert storage.read("a/b") is None
    assert storage.list("a") == []
    storage.write("a/b", b"1")
    storage.write("a/b", b"2")
    storage.write("a/c/d", b"3")
    assert storage.read("a/b") == b"2"
    assert storage.list("a") == ["b", "c"]
    assert storage.read_many(["a/b", "a/none", "a/c/d"]) == {"a/b": b"2", "a/c/d": b"3"}
    storage.delete("a")
    storage.delete("a")
    assert storage.read("a/c/d") is None
    assert storage.list("a") == []


def test_a_write_that_fails_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(tmp_path)
    storage.write("file", b"old")

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        storage.write("file", b"new")
    assert storage.read("file") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar() -> None:
    stream, stats = Terminal(), PoolStats()
    progress = Progress(4, stats, stream)
    stats.answered = 4
    progress.update(stats)
    progress.close()
    assert "[########################] 4/4 answers" in stream.getvalue()
    assert stream.getvalue().endswith("\n")


def test_secrets_are_taken_out_of_log_records_and_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    redactor = Redactor()
    redactor.add("sk-123456")
    redactor.add("ab")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(redactor)
    logger = logging.getLogger("test-redactor")
    logger.addHandler(handler)
    logger.propagate = False
    logger.error("with %s", "sk-123456", exc_info=ValueError("key sk-123456 is bad"))
    assert "sk-123456" not in stream.getvalue()
    assert stream.getvalue().count(REDACTED) == 2
    assert redactor.text("table") == "table"


def test_an_error_that_nobody_foresaw_ends_the_run_with_a_record_and_no_score(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(FakeEngine, "run", broken)
    workspace.add_task("task", 3)
    assert workspace.evaluate(OpenAIServer(workspace.answers)) == 3
    assert "Traceback" in capfd.readouterr().err
    assert workspace.last().tasks["task"].problems == ("ZeroDivisionError: a bug",)


def test_a_group_is_sent_again_if_another_run_ended_meanwhile(tmp_path: Path) -> None:
    store = ResultStore(LocalStorage(tmp_path))

    def run(number: int) -> RunResult:
        model = {"name": MODEL, "tag": "v1", "endpoint": "", "served_name": "", "api": ""}
        return RunResult(
            run_id=f"r{number}", stack="s", model=model, started=float(number), ended=number + 1.0, duration=1.0
        )

    sent: list[str] = []

    class Gateway:
        def add(self, stack: str, model: str, text: str) -> None:
            sent.append(text)
            if len(sent) == 1:
                store.save(run(2))

    store.save(run(1))
    publish.Publisher(store, Gateway(), "s").publish(MODEL, listed=False)  # type: ignore[arg-type]  # a gateway's one method
    assert len(sent) == 2
    assert 'timestamp_seconds{stack="s",model="org/fake-model",model_tag="v1"} 3.0' in sent[1]


def test_a_later_attempt_of_an_old_run_does_not_bring_its_old_list_back(tmp_path: Path) -> None:
    publisher = publish.Publisher(ResultStore(LocalStorage(tmp_path)), None, "s")
    publisher.record_list("nightly", 1.0, ["old"])
    publisher.record_list("push", 2.0, ["old", "new"])
    publisher.record_list("nightly", 3.0, ["old"])
    assert publisher.latest_list() == ("old", "new")


def test_items_that_share_a_passage_widen_the_error_bar(workspace: Workspace) -> None:
    workspace.add_task("task", 40, settings={"cluster": "passage"})
    path = workspace.root / "data" / "task.jsonl"
    items = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**item, "passage": f"p{i // 10}"}) + "\n" for i, item in enumerate(items)))
    assert workspace.evaluate(OpenAIServer(dict(list(workspace.answers.items())[:20]))) == 0
    result = workspace.last().tasks["task"]
    # Two passages all right, two all wrong: four units, not forty.
    assert result.score == 0.5
    assert result.stderr == pytest.approx((0.25 / 3) ** 0.5)
    values = workspace.store.item_values(workspace.last(), "task")
    assert values is not None
    assert values.clusters is not None
    assert set(values.clusters) == {"p0", "p1", "p2", "p3"}


def test_old_lists_of_models_are_dropped(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    publisher = publish.Publisher(ResultStore(storage), None, "s")
    for number in range(publish.KEPT_LISTS + 5):
        publisher.record_list(f"r{number}", float(number), [f"m{number}"])
    assert len(storage.list("lists/s")) == publish.KEPT_LISTS
    assert publisher.latest_list() == (f"m{publish.KEPT_LISTS + 4}",)
