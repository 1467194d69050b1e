"""Whole runs against a server whose right answers are known, and a real Pushgateway."""

import pytest

from tests.support.openai_server import OpenAIServer, Plan, running
from tests.support.pushgateway import Pushgateway, refusing_gateway
from tests.support.workspace import MODEL, Workspace


def test_a_score_is_stored_and_published_exactly_as_the_answers_give_it(
    workspace: Workspace, pushgateway: Pushgateway
) -> None:
    workspace.add_task("one", 50)
    workspace.add_task("two", 40)
    (workspace.root / "git-commit").write_text("abc123\n")
    server = OpenAIServer(workspace.answers, Plan(accuracy=0.7))
    with workspace.served(server):
        code = workspace.run(VLLM_EVAL_PUSHGATEWAY=pushgateway.url, VLLM_EVAL_STACK="exact", VLLM_EVAL_RUN_ID="uid-1")
    assert code == 0
    scores = {"one": workspace.score("one", 0.7), "two": workspace.score("two", 0.7)}
    assert pushgateway.values("exact", "vllm_eval_exact_match") == scores
    assert pushgateway.values("exact", "vllm_eval_samples") == {"one": 50, "two": 40}
    assert pushgateway.values("exact", "vllm_eval_run_success") == {"one": 1, "two": 1}
    info = [item for item in pushgateway.series("exact") if item.name == "vllm_eval_run_info"]
    assert {(item.labels["run_id"], item.labels["git_commit"]) for item in info} == {("uid-1", "abc123")}
    run = workspace.last("exact")
    assert {name: task.score for name, task in run.tasks.items()} == scores
    samples = workspace.store.samples(run, "one")
    assert samples is not None
    assert sum(sample.value for sample in samples) / len(samples) == scores["one"]
    assert len(server.requests) == 90
    assert workspace.recorded() == 0


def test_the_same_run_again_asks_nothing_and_publishes_the_same(workspace: Workspace, pushgateway: Pushgateway) -> None:
    workspace.add_task("one", 20)
    server = OpenAIServer(workspace.answers, Plan(accuracy=0.7))
    settings = {"VLLM_EVAL_PUSHGATEWAY": pushgateway.url, "VLLM_EVAL_STACK": "again", "VLLM_EVAL_RUN_ID": "uid"}
    with workspace.served(server):
        assert workspace.run(**settings) == 0
        before = [item for item in pushgateway.series("again") if item.name == "vllm_eval_exact_match"]
        assert workspace.run(**settings) == 0
    assert [item for item in pushgateway.series("again") if item.name == "vllm_eval_exact_match"] == before
    assert len(server.requests) == 20


def test_a_failed_run_keeps_the_last_good_score_under_its_own_tag(
    workspace: Workspace, pushgateway: Pushgateway
) -> None:
    workspace.add_task("one", 20)
    settings = {"VLLM_EVAL_PUSHGATEWAY": pushgateway.url, "VLLM_EVAL_STACK": "kept"}
    server = OpenAIServer(workspace.answers, Plan(accuracy=0.7))
    with running(server) as url:
        workspace.set_models(workspace.model(url))
        assert workspace.run(**settings) == 0
        first = workspace.last("kept")
        server.plan = Plan(down=True)
        workspace.set_models(workspace.model(url, tag="v2"))
        assert workspace.run(**settings) == 3
    by_name = {item.name: item for item in pushgateway.series("kept")}
    assert by_name["vllm_eval_exact_match"].value == workspace.score("one", 0.7)
    assert by_name["vllm_eval_exact_match"].labels["model_tag"] == "v1"
    assert by_name["vllm_eval_run_success"].value == 0
    assert by_name["vllm_eval_run_success"].labels["model_tag"] == "v2"
    assert by_name["vllm_eval_last_success_timestamp_seconds"].value == pytest.approx(first.ended)
    assert by_name["vllm_eval_last_run_timestamp_seconds"].value > (first.ended or 0)


def test_without_history_a_failed_run_leaves_what_the_gateway_has(
    workspace: Workspace, pushgateway: Pushgateway
) -> None:
    """The base manifest keeps results on an emptyDir: a failure must not wipe the last good score."""
    workspace.add_task("one", 20)
    settings = {"VLLM_EVAL_PUSHGATEWAY": pushgateway.url, "VLLM_EVAL_STACK": "lost"}
    server = OpenAIServer(workspace.answers)
    with workspace.served(server):
        assert workspace.run(**settings) == 0
        server.plan = Plan(down=True)
        empty = str(workspace.root / "another-emptydir")
        assert workspace.run(**settings, VLLM_EVAL_RESULTS=empty) == 3
    assert pushgateway.values("lost", "vllm_eval_exact_match") == {"one": 1.0}
    assert pushgateway.values("lost", "vllm_eval_run_success") == {"one": 0}


def test_each_pod_takes_the_model_of_its_index(workspace: Workspace, pushgateway: Pushgateway) -> None:
    workspace.add_task("one", 10)
    server = OpenAIServer(workspace.answers)
    settings = {"VLLM_EVAL_PUSHGATEWAY": pushgateway.url, "VLLM_EVAL_STACK": "index"}
    with running(server) as url:
        workspace.set_models(workspace.model(url), workspace.model(url, name="second/model", tag="v9"))
        assert workspace.run(**settings, JOB_COMPLETION_INDEX="1") == 0
    assert pushgateway.values("index", "vllm_eval_last_run_timestamp_seconds").keys() == {"second/model"}


def test_a_limit_takes_the_first_items(workspace: Workspace) -> None:
    workspace.add_task("one", 30, settings={"limit": 20})
    server = OpenAIServer(workspace.answers, Plan(accuracy=0.5))
    with workspace.served(server):
        assert workspace.run(VLLM_EVAL_LIMIT="12") == 0
    task = workspace.last().tasks["one"]
    assert (task.samples, task.expected, task.score) == (12, 12, workspace.score("one", 0.5, 12))


def test_what_a_dead_gateway_missed_is_published_later(workspace: Workspace, pushgateway: Pushgateway) -> None:
    workspace.add_task("one", 20)
    server = OpenAIServer(workspace.answers)
    with workspace.served(server):
        settings = {"VLLM_EVAL_STACK": "later", "VLLM_EVAL_RUN_ID": "uid"}
        assert workspace.run(**settings, VLLM_EVAL_PUSHGATEWAY="http://127.0.0.1:9") == 7
        assert pushgateway.series("later") == []
        published = workspace.run("publish", **settings, VLLM_EVAL_PUSHGATEWAY=pushgateway.url)
    assert published == 0
    assert pushgateway.values("later", "vllm_eval_exact_match") == {"one": 1.0}
    assert len(server.requests) == 20


def test_a_refused_publication_does_not_hide_a_failed_verification_for_good(
    workspace: Workspace, pushgateway: Pushgateway
) -> None:
    """Exit 4 would end the index: first 7, so that the retried pod publishes, then 4."""
    workspace.add_task("one", 20, settings={"max_empty_share": 0})
    server = OpenAIServer(workspace.answers, Plan().changed({"faults": [{"kind": "empty", "times": 3}]}))
    settings = {"VLLM_EVAL_STACK": "order", "VLLM_EVAL_RUN_ID": "uid"}
    with running(server) as url, refusing_gateway(503) as refusing:
        workspace.set_models(workspace.model(url))
        assert workspace.run(**settings, VLLM_EVAL_PUSHGATEWAY=refusing.url) == 7
        assert workspace.run(**settings, VLLM_EVAL_PUSHGATEWAY=pushgateway.url) == 4
    assert pushgateway.values("order", "vllm_eval_run_success") == {"one": 0}
    assert pushgateway.values("order", "vllm_eval_exact_match") == {}
    assert len(server.requests) == 20


def test_one_put_replaces_the_group_under_its_encoded_name(workspace: Workspace) -> None:
    workspace.add_task("one", 5)
    with running(OpenAIServer(workspace.answers)) as url, refusing_gateway(200) as gateway:
        workspace.set_models(workspace.model(url))
        assert workspace.run(VLLM_EVAL_PUSHGATEWAY=gateway.url) == 0
    assert [(method, path) for method, path, _ in gateway.received] == [
        ("PUT", "/metrics/job/vllm-eval/stack@base64/ZGVmYXVsdA/model@base64/b3JnL2Zha2UtbW9kZWw")
    ]


def test_the_run_id_marks_the_latest_list_and_old_models_are_removed(
    workspace: Workspace, pushgateway: Pushgateway
) -> None:
    workspace.add_task("one", 5)
    settings = {"VLLM_EVAL_PUSHGATEWAY": pushgateway.url, "VLLM_EVAL_STACK": "retired"}
    with running(OpenAIServer(workspace.answers)) as url:
        old = workspace.model(url, name="old", tag="old")
        workspace.set_models(old)
        assert workspace.run(**settings) == 0
        assert workspace.run(**{**settings, "VLLM_EVAL_STACK": "other"}) == 0
        workspace.set_models(workspace.model(url))
        assert workspace.run(**settings) == 0
        assert pushgateway.values("retired", "vllm_eval_last_run_timestamp_seconds").keys() == {MODEL}
        assert pushgateway.values("other", "vllm_eval_last_run_timestamp_seconds").keys() == {"old"}
        workspace.set_models(workspace.model(url), old)
        assert workspace.run(**settings, JOB_COMPLETION_INDEX="1") == 0
        assert pushgateway.values("retired", "vllm_eval_last_run_timestamp_seconds").keys() == {MODEL, "old"}
