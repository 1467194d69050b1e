"""Results in a bucket: the same promises as in a folder, over the S3 protocol, without appending and without a lock."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.openai_server import OpenAIServer, Plan, running
from tests.support.pushgateway import Pushgateway
from tests.support.s3 import SECRET, S3Server, running_s3
from tests.support.workspace import MODEL, Workspace
from vllm_eval.answers import SEGMENT_SECONDS
from vllm_eval.pages.serve import read_page
from vllm_eval.storage import RemoteStorage

ITEMS = 60
CONCURRENCY = 4
SLOW = Plan(accuracy=0.7, latency=0.05)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    """One server for all tests; each has a bucket of its own."""
    with running_s3() as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket that the workspace's results are in."""
    name = f"results-{time.time_ns()}"
    s3.make_bucket(name)
    for variable, value in s3.environ.items():
        monkeypatch.setenv(variable, value)
    workspace.environ["VLLM_EVAL_RESULTS"] = f"s3://{name}/prod"
    return name


def recorded(s3: S3Server, bucket: str) -> int:
    """Count the answers of unfinished runs, by the server's own account."""
    keys = [key for key in s3.keys(bucket) if key.startswith("prod/answers/")]
    return sum(len(s3.read(bucket, key).splitlines()) for key in keys)


def test_the_storage_keeps_its_word(bucket: str) -> None:
    storage = RemoteStorage(f"s3://{bucket}/prod/")
    assert storage.read("a/b") is None
    assert storage.list("a") == []
    storage.delete("a")
    storage.write("a/org%2Fmodel", b"1")
    storage.write("a/org%2Fmodel", b"2")
    storage.write("a/c/d", b"3")
    assert storage.read("a/org%2Fmodel") == b"2"
    assert storage.list("a") == ["c", "org%2Fmodel"]
    assert storage.read_many(["a/org%2Fmodel", "a/none", "a/c/d"]) == {"a/org%2Fmodel": b"2", "a/c/d": b"3"}
    storage.delete("a/c/d")
    assert storage.list("a") == ["org%2Fmodel"]
    storage.delete("a")
    assert storage.list("a") == []


def test_another_process_is_seen(s3: S3Server, bucket: str) -> None:
    """fsspec keeps listings; a run must see what another wrote meanwhile."""
    one, two = RemoteStorage(f"s3://{bucket}/prod"), RemoteStorage(f"s3://{bucket}/prod")
    one.write("runs/a", b"1")
    assert two.list("runs") == ["a"]
    one.write("runs/b", b"2")
    one.write("runs/a", b"3")
    assert two.list("runs") == ["a", "b"]
    assert two.read("runs/a") == b"3"


def test_a_run_goes_on_from_a_bucket_and_publishes_from_it(
    s3: S3Server, bucket: str, workspace: Workspace, pushgateway: Pushgateway, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace.add_task("task", 30)
    server = OpenAIServer(workspace.answers, Plan(accuracy=0.7).changed({"faults": [{"kind": "reset", "first": 20}]}))
    settings = {"VLLM_EVAL_STACK": bucket, "VLLM_EVAL_PUSHGATEWAY": pushgateway.url}
    with workspace.served(server):
        assert workspace.run(**settings) == 3
        assert recorded(s3, bucket) == 20
        server.plan = Plan(accuracy=0.7)
        assert workspace.run(**settings) == 0
        assert workspace.run(**settings) == 0
    first, second, third = workspace.store.runs(bucket, MODEL)
    assert not first.complete
    assert (second.taken_over, second.asked, third.taken_over, third.asked) == (20, 10, 0, 30)
    assert recorded(s3, bucket) == 0
    score = workspace.score("task", 0.7)
    assert pushgateway.values(bucket, "vllm_eval_exact_match") == {"task": score}
    compared = third.tasks["task"].comparison
    assert compared is not None
    assert (compared.verdict, compared.baseline_run, compared.p_value) == ("same", second.run_id, 1.0)
    capfd.readouterr()
    assert workspace.run("report", VLLM_EVAL_STACK=bucket) == 0
    assert f"{round(30 * (1 - score))} of 30 answers are wrong" in capfd.readouterr().out
    assert workspace.run("accept", VLLM_EVAL_STACK=bucket) == 0
    assert workspace.run("publish", **settings) == 0
    assert SECRET not in "".join(capfd.readouterr())
    assert not [key for key in s3.keys(bucket) if SECRET.encode() in s3.read(bucket, key)]


def test_the_reports_of_a_bucket_are_fetched_and_served(bucket: str, workspace: Workspace, tmp_path: Path) -> None:
    workspace.add_task("task", 5)
    with workspace.served(OpenAIServer(workspace.answers)):
        assert workspace.run(VLLM_EVAL_RUN_ID="run") == 0
    assert workspace.run("fetch", "--to", str(tmp_path / "here"), "--answers") == 0
    folder = "runs/default/org%2Ffake-model/run"
    assert (tmp_path / f"here/{folder}/samples/task.jsonl.gz").is_file()
    storage = RemoteStorage(f"s3://{bucket}/prod")
    for page in ("index.html", f"{folder}/report.html"):
        assert read_page(storage, page) == (tmp_path / "here" / page).read_bytes()
    assert read_page(storage, f"{folder}/result.json") is None


def test_old_runs_are_removed_from_a_bucket(s3: S3Server, bucket: str, workspace: Workspace) -> None:
    workspace.add_task("task", 5)
    with running(OpenAIServer(workspace.answers)) as url:
        for day in range(1, 4):
            # Each its own tag: else all three would be the baseline, which is kept.
            workspace.set_models(workspace.model(url, tag=f"v{day}"))
            environ = {"VLLM_EVAL_RUN_ID": f"day-{day}", "VLLM_EVAL_KEEP_RUNS": "1"}
            assert workspace.run(**environ) == 0
    runs = {key.split("/")[4] for key in s3.keys(bucket) if key.startswith("prod/runs/")}
    assert runs == {"day-1", "day-3"}, "the baseline and the last"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_after_a_kill_only_what_was_not_recorded_is_asked_again(
    s3: S3Server, bucket: str, workspace: Workspace, number: signal.Signals, code: int
) -> None:
    """A stop costs the requests in flight; a SIGKILL the answers since the last object besides."""
    server = OpenAIServer({}, SLOW)
    with running(server) as url:
        workspace.add_task("task", 1500)
        server.set_answers(workspace.answers)
        workspace.environ["VLLM_EVAL_REQUEST_TIMEOUT_SECONDS"] = "10"
        workspace.set_models(workspace.model(url, concurrency=CONCURRENCY))
        process = workspace.start(VLLM_EVAL_RUN_ID="first")
        try:
            _await(lambda: recorded(s3, bucket) > 0)
            answered = server.answered
            _await(lambda: server.answered > answered + 20)
            process.send_signal(number)
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
            process.communicate()
        assert process.returncode == code, errors
        kept, asked = recorded(s3, bucket), len(server.requests)
        rate = CONCURRENCY / SLOW.latency
        assert asked - kept <= CONCURRENCY + (rate * (SEGMENT_SECONDS + 1) if number is signal.SIGKILL else 0)
        server.plan = Plan(accuracy=0.7)
        assert workspace.run(VLLM_EVAL_RUN_ID="second") == 0
        assert len(server.requests) - asked == 1500 - kept
    assert workspace.last().taken_over == kept > 0
    assert workspace.last().tasks["task"].score == workspace.score("task", 0.7)


def test_two_runs_at_once_have_no_lock_and_the_later_start_is_published(
    s3: S3Server, bucket: str, workspace: Workspace, pushgateway: Pushgateway
) -> None:
    # The later run starts a whole Python while the earlier one goes on.
    server = OpenAIServer({}, Plan(accuracy=0.7, latency=0.4))
    settings = {"VLLM_EVAL_STACK": bucket, "VLLM_EVAL_PUSHGATEWAY": pushgateway.url}
    with running(server) as url:
        workspace.add_task("task", ITEMS)
        server.set_answers(workspace.answers)
        workspace.environ["VLLM_EVAL_REQUEST_TIMEOUT_SECONDS"] = "10"
        workspace.set_models(workspace.model(url, concurrency=1))
        early = workspace.start(VLLM_EVAL_RUN_ID="early", **settings)
        _await(lambda: server.answered > 5)
        # More at a time, so that it ends first.
        workspace.set_models(workspace.model(url, concurrency=30))
        late = workspace.start(VLLM_EVAL_RUN_ID="late", **settings)
        outputs = [process.communicate(timeout=120) for process in (late, early)]
    assert (early.returncode, late.returncode) == (0, 0), outputs
    runs = {run.run_id: run for run in workspace.store.runs(bucket, MODEL)}
    assert (runs["late"].ended or 0) < (runs["early"].ended or 0)
    info = [item.labels["run_id"] for item in pushgateway.series(bucket) if item.name == "vllm_eval_run_info"]
    assert info == ["late"]


def test_a_misspelt_bucket_is_named_before_the_first_request_and_not_made(
    s3: S3Server, bucket: str, workspace: Workspace, pushgateway: Pushgateway, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace.add_task("task", 5)
    server = OpenAIServer(workspace.answers)
    buckets = s3.buckets()
    settings = {"VLLM_EVAL_STACK": bucket, "VLLM_EVAL_PUSHGATEWAY": pushgateway.url}
    with workspace.served(server):
        assert workspace.run(**settings, VLLM_EVAL_RESULTS=f"s3://{bucket}-misspelt/prod") == 3
    assert f"cannot write s3://{bucket}-misspelt/prod/" in capfd.readouterr().err
    assert server.requests == []
    assert s3.buckets() == buckets
    assert pushgateway.values(bucket, "vllm_eval_run_success") == {"task": 0}


def test_a_store_that_dies_ends_the_run_without_a_score(workspace: Workspace, pushgateway: Pushgateway) -> None:
    """Answers that cannot be kept are not asked for, and a score that cannot be stored is not published."""
    with running_s3() as s3:
        s3.make_bucket("results")
        server = OpenAIServer({}, SLOW)
        with running(server) as url:
            workspace.add_task("task", 4000)
            server.set_answers(workspace.answers)
            workspace.environ |= {"VLLM_EVAL_RESULTS": "s3://results/prod", "VLLM_EVAL_REQUEST_TIMEOUT_SECONDS": "10"}
            workspace.set_models(workspace.model(url, concurrency=CONCURRENCY))
            process = workspace.start(
                VLLM_EVAL_STACK="dying-store", VLLM_EVAL_PUSHGATEWAY=pushgateway.url, **s3.environ
            )
            try:
                _await(lambda: server.answered > 10)
                s3.stop()
                _, errors = process.communicate(timeout=120)
            finally:
                process.kill()
                process.communicate()
    assert process.returncode == 3, errors
    assert "cannot write s3://results/prod/" in errors
    assert len(server.requests) < 4000
    assert pushgateway.values("dying-store", "vllm_eval_exact_match") == {}
    assert pushgateway.values("dying-store", "vllm_eval_run_success") == {"task": 0}


def test_a_url_with_a_password_is_refused_and_not_shown(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace.add_task("task", 5)
    workspace.set_models(workspace.model("http://127.0.0.1:9/v1"))
    assert workspace.run(VLLM_EVAL_RESULTS="sftp://me:hunter22@host/path") == 2
    said = capfd.readouterr().err
    assert "with a password" in said
    assert "hunter22" not in said


@pytest.mark.parametrize("url", ["simplecache::s3://me:hunter22@bucket/path", "simplecache::memory://results"])
def test_a_chain_of_urls_is_refused_and_not_shown(
    url: str, workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace.add_task("task", 5)
    workspace.set_models(workspace.model("http://127.0.0.1:9/v1"))
    assert workspace.run(VLLM_EVAL_RESULTS=url) == 2
    said = capfd.readouterr().err
    assert "VLLM_EVAL_RESULTS (--out) chains fsspec URLs by `::`" in said
    assert "hunter22" not in said


def _await(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit, "it did not come to that"
        time.sleep(0.02)
