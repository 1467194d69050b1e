"""Kinds: what counts as published, what an option may be, what no text may show, and which way a metric goes."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from tests.support.openai_server import Fault, OpenAIServer, Plan
from tests.support.serving import Answer, Asked, answering
from tests.support.workspace import Workspace

PASSWORD = "p%2Fss-w0rd%40"
PAGE = b"<html><title>Sign in</title></html>"


@contextmanager
def page(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Run a server in the gateway's place that answers all alike; yield host and port, and the paths asked for."""
    paths: list[str] = []

    def answer(asked: Asked) -> Answer:
        paths.append(f"{asked.method} {asked.path}")
        return Answer(200, PAGE, headers or {}) if asked.path == "/login" else Answer(status, body, headers or {})

    with answering(answer) as address:
        yield address, paths


def publish(workspace: Workspace, gateway: str, *arguments: str, plan: Plan | None = None) -> int:
    """Run a task of four items with ``gateway`` as the Pushgateway's URL."""
    workspace.add_task("task", 4)
    with workspace.served(OpenAIServer(workspace.answers, plan)):
        given = {} if "--pushgateway" in arguments else {"VLLM_EVAL_PUSHGATEWAY": gateway}
        return workspace.run("run", *arguments, **given)


@pytest.mark.parametrize(
    ("status", "body", "headers", "named"),
    [
        *((status, b"", {"Location": "/login"}, "a redirect to /login") for status in (301, 302, 303, 307, 308)),
        (200, PAGE, {}, "a proxy's page"),
        (202, PAGE, {}, "a proxy's page"),
        (204, b"", {}, "HTTP 204"),
        (401, b"", {}, "user or password"),
        (404, PAGE, {}, "HTTP 404"),
    ],
)
def test_only_the_gateways_own_word_is_a_publication(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], status: int, body: bytes, headers: dict[str, str],
    named: str,
) -> None:  # fmt: skip
    with page(status, body, headers) as (address, paths):
        assert publish(workspace, f"http://user:{PASSWORD}@{address}/prefix") == 7
    said = capfd.readouterr()
    assert named in said.err
    assert f"http://{address}/prefix" in said.err
    assert [path.split("/")[1] for path in paths] == ["prefix"]
    files = [file for file in workspace.root.rglob("*") if file.is_file()]
    texts = [said.out, said.err, *(file.read_bytes().decode("latin-1") for file in files)]
    assert not [text for text in texts if "w0rd" in text or "p/ss" in text]
    assert workspace.last().complete


def test_a_failed_run_says_as_well_that_its_failure_is_not_published(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    with page(500) as (address, _):
        code = publish(workspace, f"http://{address}", plan=Plan(faults=(Fault("status"),)))
    assert code == 3
    said = capfd.readouterr().err
    assert "did not take the POST: HTTP 500" in said
    assert "has answered nobody" in said


def test_a_slash_behind_the_gateways_url_is_no_part_of_it(workspace: Workspace) -> None:
    with page(200) as (address, paths):
        assert publish(workspace, "", "--pushgateway", f"http://{address}/") == 0
    assert [path.startswith("PUT /metrics/job/") for path in paths] == [True]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--pushgateway", "127.0.0.1:9091"], "--pushgateway"),
        (["--pushgateway", "http://"], "--pushgateway"),
        (["--pushgateway", "gateway"], "--pushgateway"),
        (["--pushgateway", "http://host:port"], "--pushgateway"),
        (["--pushgateway", "http://host/?a=b"], "--pushgateway"),
        (["--pushgateway", "http://user:a/b@host:9091"], "--pushgateway"),
        (["--stack", "a\nb"], "--stack"),
        (["--out", " "], "--out"),
        (["--endpoint", "host:8000/v1", "--model", "m", "--tag", "t"], "--endpoint"),
        (["--endpoint", "http://user:secret-word@host/v1", "--model", "m", "--tag", "t"], "--endpoint"),
        (["--endpoint", "http://host/v1", "--model", "m\n", "--tag", "t"], "--model"),
        (["--endpoint", "http://host/v1", "--model", "m", "--tag", ""], "--tag"),
    ],
)
def test_an_option_is_checked_like_its_variable_before_the_first_request(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    workspace.add_task("task", 4)
    assert workspace.run("run", *arguments) == 2
    said = capfd.readouterr().err
    assert f"- {named}: " in said
    assert "secret-word" not in said
    assert "a/b@" not in said
    assert not (workspace.root / "results").exists()


def test_a_variable_with_a_password_is_refused_without_showing_it(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace.add_task("task", 4)
    bad = {"VLLM_EVAL_PUSHGATEWAY": "ftp://user:secret-word@host"}
    assert workspace.run("run", **bad) == 2
    models = [workspace.model("http://user:secret-word@host/v1", api_key="sk-secret-word/+")]
    workspace.set_models(*models)
    assert workspace.run("run", VLLM_EVAL_PUSHGATEWAY="") == 2
    said = capfd.readouterr().err
    assert "VLLM_EVAL_PUSHGATEWAY" in said
    assert "api_key" in said
    assert "secret-word" not in said


@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_metric_that_is_better_when_lower_is_refused_by_name(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    workspace.add_task("task", 4, settings={"engine": "lm_eval"})
    path = workspace.root / "tasks" / "task.yaml"
    path.write_text(path.read_text().replace("higher_is_better: true", "higher_is_better: false"))
    server = OpenAIServer(workspace.answers)
    assert workspace.evaluate(server, command) == 2
    assert "'exact_match' has higher_is_better: false" in capfd.readouterr().err
    assert server.requests == []


def test_a_metric_beside_the_tasks_own_may_be_better_when_lower(workspace: Workspace) -> None:
    workspace.add_task("task", 4, settings={"engine": "lm_eval"})
    path = workspace.root / "tasks" / "task.yaml"
    other = "  - metric: other\n    aggregation: mean\n    higher_is_better: false\nfilter_list:"
    own = "def judge(doc, results):\n    return {'exact_match': results[0] == doc['answer'], 'other': 1}\n"
    (workspace.root / "tasks" / "own.py").write_text(own)
    text = path.read_text().replace("filter_list:", other) + "process_results: !function own.judge\n"
    path.write_text(text)
    assert workspace.evaluate(OpenAIServer(workspace.answers)) == 0
    (score,) = workspace.last().tasks["task"].scores
    assert json.loads(score.model_dump_json()) == {"metric": "other", "filter": "strip", "value": 1.0}
