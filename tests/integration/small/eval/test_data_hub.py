"""Items from a hub: at one commit, with a token, through its faults; the real huggingface_hub and datasets ask it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.benchmarks import NUMBERS, QUESTIONS, rows_of
from tests.support.hub import Hub, running_hub
from tests.support.openai_server import OpenAIServer
from tests.support.workspace import MODEL, Workspace
from vllm_eval.records import TaskResult


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub with the numbers."""
    with running_hub() as started:
        started.put("org/numbers", {"default": {"test": rows_of(QUESTIONS), "dev": rows_of(QUESTIONS)[:2]}})
        yield started


@pytest.fixture
def numbers(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "workspace")
    (workspace.root / "tasks" / "numbers.yaml").write_text(NUMBERS)
    workspace.configure({"numbers": {}})
    workspace.environ["VLLM_EVAL_REQUEST_TIMEOUT_SECONDS"] = "30"
    return workspace


def evaluate(workspace: Workspace, hub: Hub, run_id: str, **environ: str) -> tuple[int, TaskResult]:
    """Run in a process of its own: the libraries read where the hub is when they are imported."""
    server = OpenAIServer(QUESTIONS)
    with workspace.served(server):
        cache = hub.environ(workspace.root / "cache")
        process = workspace.start("run", VLLM_EVAL_RUN_ID=run_id, **{**cache, **environ})
        _, said = process.communicate(timeout=300)
    run = workspace.store.load("default", MODEL, run_id)
    assert run is not None, said
    return process.returncode, run.tasks["numbers"]


def test_the_newest_commit_is_named_and_a_set_one_is_kept(numbers: Workspace, hub: Hub) -> None:
    first = hub.repositories["org/numbers"].head
    code, task = evaluate(numbers, hub, "first")
    assert (code, task.score) == (0, 1.0)
    assert task.data is not None
    assert (task.data.repository, task.data.commit) == ("org/numbers", first)
    second = hub.put("org/numbers", {"default": {"test": rows_of(QUESTIONS)[:6], "dev": rows_of(QUESTIONS)[:2]}})
    code, moved = evaluate(numbers, hub, "moved")
    assert (code, moved.samples) == (0, 6)
    assert moved.comparison is not None
    assert moved.comparison.reason.startswith(f"the data changed: org/numbers {first[:12]} -> {second[:12]}")
    numbers.configure({"numbers": {"revision": first}})
    code, kept = evaluate(numbers, hub, "kept")
    assert (code, kept.samples, kept.task_hash) == (0, 12, task.task_hash)
    bundle(hub, numbers, numbers.root / "bundle", "--revision", f"numbers={first}")
    hub.status["/"] = 500
    code, offline = evaluate(
        numbers, hub, "offline", VLLM_EVAL_DATA=str(numbers.root / "bundle"), HF_HUB_OFFLINE="1",
        HF_HOME=str(numbers.root / "empty"),
    )  # fmt: skip
    assert (code, offline.task_hash) == (0, task.task_hash)
    store, items = numbers.store, []
    for run_id in ("first", "offline"):
        run = store.load("default", MODEL, run_id)
        assert run is not None
        items.append([sample.item for sample in store.samples(run, "numbers") or []])
    assert items[0] == items[1], "an offline run has the online run's items"


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ("gated", 2, "does not give it to this token (401)"),
        ("forbidden", 2, "does not give it to this token (403)"),
        ("expired", 2, "does not give it to this token (401)"),
        ("unknown", 2, "has no such repository"),
        ("revision", 2, "has no such revision 'v9'"),
        ("api-down", 3, "answers 503"),
        ("half", 3, "answers 500"),
        ("unreachable", 3, "cannot be reached"),
        ("offline", 2, "no hub may be asked; give a bundle in VLLM_EVAL_DATA"),
    ],
)
def test_every_fault_of_a_hub_is_one_error_and_no_score(
    numbers: Workspace, hub: Hub, fault: str, code: int, said: str
) -> None:
    environ: dict[str, str] = {}
    repository = hub.repositories["org/numbers"]
    if fault in {"gated", "forbidden"}:
        repository.token, repository.gated = "granted", "auto"
        environ = {"HF_TOKEN": "another"} if fault == "forbidden" else {}
    elif fault == "expired":
        environ = {"HF_TOKEN": "expired"}
    elif fault == "unknown":
        hub.repositories.clear()
    elif fault == "revision":
        numbers.configure({"numbers": {"revision": "v9"}})
    elif fault == "api-down":
        hub.status["/api/"] = 503
    elif fault == "half":
        hub.status["default/test.jsonl"] = 500
    elif fault == "unreachable":
        environ = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    else:
        environ = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    found, task = evaluate(numbers, hub, fault, **environ)
    assert (found, task.score, len(task.problems)) == (code, None, 1), task.problems
    assert said in task.problems[0]


def test_a_full_cache_is_worth_a_second_try_and_is_named(numbers: Workspace, hub: Hub) -> None:
    long = [{**row, "question": row["question"] + "x" * 30_000} for row in rows_of(QUESTIONS)]
    hub.put("org/numbers", {"default": {"test": long, "dev": long[:2]}})
    cache = numbers.root / "cache"
    cache.mkdir()
    # A file system of its own, which only this process sees and which ends with it.
    mounted = f'mount -t tmpfs -o size=256k none "{cache}" && exec "$0" -m vllm_eval run'
    server = OpenAIServer(QUESTIONS)
    with numbers.served(server):
        done = subprocess.run(
            ["unshare", "--map-root-user", "--mount", "sh", "-c", mounted, sys.executable],
            env={**os.environ, **numbers.environ, **hub.environ(cache)}, cwd=numbers.root,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    [problem] = numbers.last().tasks["numbers"].problems
    assert (done.returncode, server.requests) == (3, []), done.stderr
    assert "make the cache larger" in problem
    assert str(cache) in problem


def bundle(hub: Hub, workspace: Workspace, out: Path, *more: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vllm_eval", "bundle", "numbers", "--out", str(out), "--tasks",
               str(workspace.root / "tasks"), *more]  # fmt: skip
    cache = hub.environ(workspace.root / f"cache-{out.name}")
    return subprocess.run(command, env={**os.environ, **cache, **environ}, capture_output=True, text=True, check=False)


def test_a_bundle_has_the_same_bytes_on_two_machines_and_says_what_is_gated(
    numbers: Workspace, hub: Hub, tmp_path: Path
) -> None:
    repository = hub.repositories["org/numbers"]
    repository.token, repository.gated = "granted", "manual"
    refused = bundle(hub, numbers, tmp_path / "none")
    assert refused.returncode == 2
    assert "does not give it to this token (401)" in refused.stderr
    assert not (tmp_path / "none").exists()
    contents = []
    for name in ("one", "two"):
        done = bundle(hub, numbers, tmp_path / name, "--fewshot", HF_TOKEN="granted")
        assert done.returncode == 0, done.stderr
        files = sorted((tmp_path / name).rglob("*.json*"))
        contents.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files})
        assert "Keep it private" in done.stdout
        assert "gated" in done.stdout
    assert contents[0] == contents[1]
    assert set(contents[0]) == {"manifest.json", "tasks/numbers/test.jsonl", "tasks/numbers/fewshot-dev.jsonl"}
    manifest = json.loads(contents[0]["manifest.json"])
    assert manifest["tasks"]["numbers"]["gated"] == "manual"
    assert "granted" not in json.dumps(manifest)
