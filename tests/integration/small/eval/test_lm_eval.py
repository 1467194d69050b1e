"""The default engine: the same scores as plain lm_eval, in one pool, and one bad task costs no other."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.openai_server import OpenAIServer, Plan, load_answers, running
from tests.support.workspace import TASKS, Workspace, shipped_items
from vllm_eval.config import TaskSettings
from vllm_eval.engines.lm_eval_tasks import load, spec_of
from vllm_eval.errors import Terminated
from vllm_eval.tasks import load_tasks
from workbench.paths import REPOSITORY

SHIPPED = REPOSITORY / "eval" / "evalchemy"
REAL = {"engine": "lm_eval"}


def shipped_server(plan: Plan) -> OpenAIServer:
    return OpenAIServer(load_answers(sorted((SHIPPED / "data").glob("*.jsonl"))), plan)


def use_shipped_tasks(workspace: Workspace) -> None:
    workspace.environ["VLLM_EVAL_CONFIG"] = str(SHIPPED / "configs" / "eval_config.json")
    workspace.environ["VLLM_EVAL_REQUEST_TIMEOUT_SECONDS"] = "30"


class PlainLmEval:
    """lm_eval's own command line, offline and in a folder of its own; started at once, since it takes longest."""

    def __init__(self, folder: Path, url: str, api: str, limit: int) -> None:
        chat = api == "chat"
        path = "chat/completions" if chat else "completions"
        command = [
            sys.executable, "-m", "lm_eval", "run",
            "--model", "local-chat-completions" if chat else "local-completions",
            "--model_args", f"base_url={url}/{path},model=fake-model,tokenizer_backend=None,num_concurrent=4",
            "--tasks", "custom_task_1,custom_task_2", "--include_path", str(SHIPPED / "tasks"),
            "--output_path", str(folder / "plain"), "--limit", str(limit), "--log_samples",
            *(["--apply_chat_template"] if chat else []),
        ]  # fmt: skip
        self._folder = folder / "plain"
        self._log = (folder / "plain.log").open("w+")
        offline = {
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "HF_HOME": str(folder / "hf"),
            "HOME": str(folder),
        }
        environ = {**os.environ, **offline}
        self._process = subprocess.Popen(command, cwd=folder, stdout=self._log, stderr=subprocess.STDOUT, env=environ)

    def __enter__(self) -> "PlainLmEval":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def results(self) -> dict[str, dict[str, Any]]:
        """Wait for its end and return its results by task."""
        code = self._process.wait(timeout=300)
        self._log.seek(0)
        assert code == 0, self._log.read()
        (file,) = self._folder.rglob("results_*.json")
        results: dict[str, dict[str, Any]] = json.loads(file.read_text())["results"]
        return results

    def samples(self, task: str) -> list[dict[str, Any]]:
        """Return what it has logged of each item."""
        (file,) = self._folder.rglob(f"samples_{task}_*.jsonl")
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_scores_equal_those_of_plain_lm_eval_to_the_last_digit(workspace: Workspace, api: str) -> None:
    use_shipped_tasks(workspace)
    server, other = (shipped_server(Plan(accuracy=0.77)) for _ in range(2))
    with running(server) as url, running(other) as other_url:
        with PlainLmEval(workspace.root, other_url, api, 60) as plain:
            workspace.set_models(workspace.model(url, api=api))
            asked = []
            for name in ("first", "second"):
                assert workspace.run(VLLM_EVAL_LIMIT="60", VLLM_EVAL_RUN_ID=name) == 0
                asked.append(sorted(json.dumps(body, sort_keys=True) for body in server.requests))
                server.requests.clear()
            rows = plain.results()
            samples = {task: plain.samples(task) for task in rows}
        asked.append(sorted(json.dumps(body, sort_keys=True) for body in other.requests))
    assert asked[0] == asked[1] == asked[2], "the endpoint is asked the very same things"
    first, second = workspace.store.runs("default", "org/fake-model")
    for task, row in rows.items():
        for run in (first, second):
            result = run.tasks[task]
            key = f"exact_match,{result.filter}", f"exact_match_stderr,{result.filter}"
            assert (result.score, result.stderr) == (row[key[0]], row[key[1]])
            assert 0 < (result.score or 0) < 1
        assert sorted(each["doc"]["id"] for each in samples[task]) == [each["id"] for each in shipped_items(task)[:60]]
        right = sum(each["filtered_resps"][0] == each["doc"]["answer"] for each in samples[task])
        assert row[f"exact_match,{first.tasks[task].filter}"] == right / 60
        assert len(samples[task][0]["arguments"]["gen_args_0"]["arg_0"]) < 620
    assert set(rows) == set(TASKS)
    assert not list(workspace.root.glob("hf/datasets/**/*.arrow")), "no copy of the data is left in a cache"


def test_all_tasks_share_one_pool_whatever_their_generation_settings(workspace: Workspace) -> None:
    """lm_eval itself would drain the pool between any two settings."""
    for number in range(5):
        workspace.add_task(f"task_{number}", 8, max_gen_toks=10 + number, settings=REAL)
    # All must be on their way before the first is answered, and none given up.
    server = OpenAIServer(workspace.answers, Plan(latency=3.0))
    workspace.environ["VLLM_EVAL_REQUEST_TIMEOUT_SECONDS"] = "60"
    assert workspace.evaluate(server, concurrency=40) == 0
    assert server.most_concurrent == 40
    assert {body["max_tokens"] for body in server.requests} == {10, 11, 12, 13, 14}


def test_a_metric_that_raises_costs_its_own_task_only(workspace: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    workspace.add_task("good", 6, settings=REAL)
    workspace.add_task("bad", 6, settings=REAL)
    (workspace.root / "tasks" / "broken.py").write_text(
        "def judge(doc, results):\n    raise KeyError('no such field')\n"
    )
    path = workspace.root / "tasks" / "bad.yaml"
    path.write_text(path.read_text() + "process_results: !function broken.judge\n")
    server = OpenAIServer(workspace.answers)
    assert workspace.evaluate(server) == 2
    tasks = workspace.last().tasks
    assert (tasks["good"].good, tasks["good"].score) == (True, 1.0)
    assert (tasks["bad"].good, tasks["bad"].score) == (False, None)
    assert "bad: scoring failed: KeyError: 'no such field'" in capfd.readouterr().err
    assert len(server.requests) == 12, "scoring again asks nothing again"


def test_a_request_that_is_refused_fails_its_own_task_only(workspace: Workspace) -> None:
    workspace.add_task("good", 6, settings=REAL)
    workspace.add_task("long", 6, max_gen_toks=999, settings=REAL)
    server = OpenAIServer(workspace.answers)
    server.reject = lambda body: body["max_tokens"] == 999
    assert workspace.evaluate(server) == 3
    tasks = workspace.last().tasks
    assert tasks["good"].score == 1.0
    assert tasks["long"].cause == "endpoint"
    assert "HTTP 400" in tasks["long"].problems[0]


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("output_type: generate_until", "output_type: loglikelihood_rolling", "is perplexity"),
        ("output_type: generate_until", "output_type: generate_until\nunsafe_code: true", "unsafe_code"),
        ("exact_match", "no_such_metric", "task: lm_eval does not know the metric no_such_metric"),
        ("{{answer}}", "{{missing", "task: lm_eval cannot load it: Template"),
        ("doc_to_target:", "doc_to_target: !function nowhere.f\nx:", "task: lm_eval cannot load it: ImportError"),
    ],
)
def test_what_cannot_be_run_or_loaded_is_named_before_the_first_request(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], old: str, new: str, named: str
) -> None:
    workspace.add_task("task", 6, settings=REAL)
    path = workspace.root / "tasks" / "task.yaml"
    path.write_text(path.read_text().replace(old, new))
    server = OpenAIServer(workspace.answers)
    assert workspace.evaluate(server) == 2
    assert named in capfd.readouterr().err
    assert server.requests == []


def test_validate_scores_every_task_without_a_model(workspace: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    use_shipped_tasks(workspace)
    assert workspace.run("validate") == 0
    said = capfd.readouterr().out
    assert "custom_task_1: 500 items; own targets score 1.000, nonsense 0.000" in said


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("  - metric: exact_match\n", "  - metric: f1\n", "scoring failed"),
        ("remove_whitespace", "uppercase", "6 of 6 items are not right for their own target"),
    ],
)
def test_validate_finds_what_only_scoring_shows(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], old: str, new: str, named: str
) -> None:
    workspace.add_task("task", 6, settings=REAL)
    path = workspace.root / "tasks" / "task.yaml"
    path.write_text(path.read_text().replace(old, new).replace("{{answer}}", "{{answer}} apples"))
    assert workspace.run("validate") == 2
    assert named in capfd.readouterr().err


def test_validate_refuses_a_metric_that_is_not_a_share(workspace: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    workspace.add_task("task", 6, settings={**REAL, "metric": "points"})
    (workspace.root / "tasks" / "points.py").write_text(
        "def judge(doc, results):\n    return {'points': 7 if results[0] == doc['answer'] else 0}\n"
    )
    path = workspace.root / "tasks" / "task.yaml"
    text = path.read_text().replace("metric: exact_match", "metric: points")
    path.write_text(text + "process_results: !function points.judge\n")
    assert workspace.run("validate") == 2
    assert "not in 0..1" in capfd.readouterr().err


def test_only_tmp_and_results_are_written(workspace: Workspace, tmp_path: Path) -> None:
    """The pod's root file system is read-only, and its user has no home."""
    workspace.add_task("task", 6, settings=REAL)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with workspace.served(OpenAIServer(workspace.answers)):
        process = workspace.start(HOME="/nonexistent", TMPDIR=str(scratch))
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert not Path("/nonexistent").exists()
    assert "Traceback" not in errors
    assert "fatal" not in errors


def test_generation_and_few_shots_of_the_configuration_are_laid_over_the_yaml_and_are_in_the_hash(
    workspace: Workspace,
) -> None:
    over = {"num_fewshot": 2, "generation": {"max_tokens": 77, "until": ["END"]}}
    workspace.add_task("plain", 6, settings=REAL)
    workspace.add_task("laid_over", 6, settings={**REAL, **over})
    server = OpenAIServer(workspace.answers)
    with workspace.served(server):
        workspace.run()
        first = workspace.last().tasks["laid_over"].task_hash
        changed = {**over, "generation": {**over["generation"], "max_tokens": 78}}  # type: ignore[dict-item]
        workspace.add_task("laid_over", 6, settings={**REAL, **changed})
        workspace.run(VLLM_EVAL_RUN_ID="second")
    asked = {body["max_tokens"]: body for body in server.requests}
    assert asked.keys() == {16, 77, 78}
    assert asked[77]["stop"] == ["END"]
    assert asked[77]["prompt"].count("Answer:") == 3
    assert asked[16]["prompt"].count("Answer:") == 1
    assert workspace.last().tasks["laid_over"].task_hash != first


def test_settings_laid_over_a_task_of_lm_evals_keep_the_rest_of_its_yaml() -> None:
    settings = TaskSettings(enabled=True, num_fewshot=0, generation={"max_gen_toks": 2048})
    (task,) = load_tasks({"gsm8k": settings}, REPOSITORY / "no-such-folder", limit=None, api="completions")
    (bare,) = load_tasks(
        {"gsm8k": TaskSettings(enabled=True)}, REPOSITORY / "no-such-folder", limit=None, api="completions"
    )
    spec = spec_of(task)
    assert isinstance(spec, dict)
    assert (spec["num_fewshot"], spec["dataset_path"]) == (0, "openai/gsm8k")
    assert spec["generation_kwargs"]["max_gen_toks"] == 2048
    assert spec["generation_kwargs"]["until"]
    assert task.hash != bare.hash


@pytest.mark.parametrize("name", ["own", "gsm8k"])
def test_another_metric_or_filter_is_another_task_for_the_baseline(workspace: Workspace, name: str) -> None:
    workspace.add_task("own", 2, settings=REAL)
    hashes = set()
    for chosen in ({}, {"metric": "f1"}, {"filter": "flexible-extract"}, {"metric": "exact_match"}):
        enabled = {name: TaskSettings.model_validate({"enabled": True, **chosen})}
        (task,) = load_tasks(enabled, workspace.root / "tasks", limit=None, api="completions")
        hashes.add(task.hash)
    assert len(hashes) == 3, "the default said aloud is the default"


def test_a_stop_of_the_process_while_a_task_is_loaded_is_no_fault_of_the_task(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.add_task("own", 2, settings=REAL)
    tasks = load_tasks({"own": TaskSettings(enabled=True)}, workspace.root / "tasks", limit=None, api="completions")

    def stop(_: object) -> None:
        raise Terminated

    monkeypatch.setattr("vllm_eval.engines.lm_eval_tasks.spec_of", stop)
    with pytest.raises(Terminated):
        load(tasks)
