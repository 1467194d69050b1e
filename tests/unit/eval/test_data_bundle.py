"""A bundle: what it says of its items, and that nothing else than them is ever scored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.benchmarks import NUMBERS, QUESTIONS, rows_of, write_bundle
from tests.support.openai_server import OpenAIServer, running
from tests.support.workspace import MODEL, Workspace
from vllm_eval.data.bundle import MANIFEST
from vllm_eval.data.task_data import from_lines, to_lines
from vllm_eval.errors import StorageError, TaskError
from vllm_eval.records import TaskResult
from vllm_eval.storage import LocalStorage


@pytest.fixture
def numbers(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "workspace")
    (workspace.root / "tasks" / "numbers.yaml").write_text(NUMBERS)
    workspace.configure({"numbers": {}})
    workspace.environ["VLLM_EVAL_DATA"] = str(write_bundle(tmp_path / "bundle", rows_of(QUESTIONS)))
    workspace.environ["VLLM_EVAL_REQUEST_TIMEOUT_SECONDS"] = "30"
    return workspace


def evaluate(workspace: Workspace, server: OpenAIServer, run_id: str, **environ: str) -> tuple[int, TaskResult]:
    with running(server) as url:
        # One address for all runs: the endpoint is a part of a model's identity.
        workspace.set_models(workspace.model(url))
        code = workspace.run(VLLM_EVAL_RUN_ID=run_id, **environ)
    run = workspace.store.load("default", MODEL, run_id)
    assert run is not None
    return code, run.tasks["numbers"]


def flip(folder: Path) -> None:
    file = folder / "tasks/numbers/test.jsonl"
    content = bytearray(file.read_bytes())
    content[40] ^= 1
    file.write_bytes(content)


def swap(folder: Path) -> None:
    (folder / "tasks/numbers/test.jsonl").write_bytes((folder / "tasks/other/test.jsonl").read_bytes())


def remove(folder: Path) -> None:
    (folder / "tasks/numbers/test.jsonl").unlink()


def other_version(folder: Path) -> None:
    write_bundle(folder, rows_of(QUESTIONS), lm_eval="0.4.12")


def other_task(folder: Path) -> None:
    text = (folder / MANIFEST).read_text().replace('"numbers": {', '"letters": {')
    (folder / MANIFEST).write_text(text)


def no_bundle(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def newer_format(folder: Path) -> None:
    (folder / MANIFEST).write_text((folder / MANIFEST).read_text().replace('"format": 1', '"format": 2'))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (flip, "tasks/numbers/test.jsonl is damaged or was changed"),
        (swap, "tasks/numbers/test.jsonl holds what tasks/other/test.jsonl should"),
        (remove, "tasks/numbers/test.jsonl is missing"),
        (other_version, "made with lm_eval 0.4.12, and this is 0.4.13"),
        (other_task, "the bundle has no task 'numbers'; it has letters"),
        (no_bundle, "there is no manifest.json; make a bundle with `vllm-eval bundle"),
        (newer_format, "this version reads format 1"),
    ],
)
def test_a_bundle_that_is_not_whole_gives_one_error_and_no_score(
    numbers: Workspace, fault: Callable[[Path], None], said: str
) -> None:
    fault(Path(numbers.environ["VLLM_EVAL_DATA"]))
    server = OpenAIServer(QUESTIONS)
    code, task = evaluate(numbers, server, "broken")
    assert (code, task.score, task.cause) == (2, None, "input")
    assert len(task.problems) == 1
    assert said in task.problems[0]
    assert server.requests == []


def test_a_bundle_that_cannot_be_read_now_is_worth_a_second_try(
    numbers: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: LocalStorage, path: str) -> bytes:
        raise StorageError(f"cannot read {path}: Stale file handle")

    real = LocalStorage.read
    bundle = Path(numbers.environ["VLLM_EVAL_DATA"])
    monkeypatch.setattr(
        LocalStorage, "read", lambda self, path: (fail if self.local == bundle else real)(self, path)
    )  # fmt: skip
    code, task = evaluate(numbers, OpenAIServer(QUESTIONS), "stale")
    assert (code, task.score, task.cause) == (3, None, "endpoint")
    assert "Stale file handle" in task.problems[0]


def test_a_bundle_can_be_read_by_those_who_did_not_make_it(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", rows_of(QUESTIONS))
    plain = tmp_path / "plain"
    plain.write_text("")
    assert {file.stat().st_mode for file in folder.rglob("*") if file.is_file()} == {plain.stat().st_mode}


def test_examples_and_revisions_that_a_bundle_lacks_are_refused(numbers: Workspace) -> None:
    cases = {"num_fewshot": (2, "make the bundle with --fewshot"), "revision": ("v2", "'v2', but the bundle")}
    for number, (key, (value, said)) in enumerate(cases.items()):
        numbers.configure({"numbers": {key: value}})
        code, task = evaluate(numbers, OpenAIServer(QUESTIONS), f"lacking-{number}")
        assert (code, task.score) == (2, None)
        assert said in task.problems[0]


@pytest.mark.parametrize(
    ("name", "accepted"), [("numbers", False), ("numbers", True), ("every", False), ("every", True)]
)
def test_data_that_changed_is_told_and_begins_a_new_baseline(
    numbers: Workspace, capfd: pytest.CaptureFixture[str], name: str, *, accepted: bool
) -> None:
    if name == "every":
        group = "group: every\ntask: [numbers]\naggregate_metric_list: [{metric: exact_match, weight_by_size: true}]\n"
        (numbers.root / "tasks" / "every.yaml").write_text(group)
        numbers.configure({"every": {}})
    folder = Path(numbers.environ["VLLM_EVAL_DATA"])
    server = OpenAIServer(QUESTIONS)
    baseline: dict[str, Any] = {"baseline": {"run": "first"}} if accepted else {}
    results = []
    with numbers.served(server, **baseline):
        for run_id, rows, commit in (
            ("first", rows_of(QUESTIONS), "a" * 40),
            ("same", rows_of(QUESTIONS), "b" * 40),  # a commit that changes nothing of the items
            ("other", [{**row, "answer": "wrong"} for row in rows_of(QUESTIONS)], "c" * 40),
            ("again", [{**row, "answer": "wrong"} for row in rows_of(QUESTIONS)], "c" * 40),
        ):
            write_bundle(folder, rows, commit=commit)
            assert numbers.run(VLLM_EVAL_RUN_ID=run_id) == 0
            results.append(numbers.last().tasks[name])
    first, same, other, again = results
    assert first.task_hash == same.task_hash != other.task_hash
    assert first.data is not None
    assert (first.data.repository, first.data.commit) == ("org/numbers", "a" * 40)
    found = [result.comparison for result in results]
    verdicts = [each.verdict if each else None for each in found]
    assert verdicts == [verdicts[0], "same", "no_baseline", "inconclusive"], "of no right answer none can be lost"
    told = "the data changed: org/numbers bbbbbbbbbbbb -> cccccccccccc; a new baseline begins with this run"
    assert found[2] is not None
    assert (found[2].reason, found[2].baseline_mean) == (told, other.score)
    assert f"{name}: {told}" in capfd.readouterr().err
    assert again.comparison is not None
    assert (again.comparison.baseline_run, again.comparison.baseline_mean) == ("other", 0.0)


def test_items_come_back_as_they_were_and_others_are_refused() -> None:
    items: list[dict[str, Any]] = [{"b": 1, "a": ["\u2028", None, {"x": 2.5, "y": True}]}, {"text": "정답\ud800"}]
    assert from_lines(to_lines(items, "t")) == items
    assert list(from_lines(to_lines(items, "t"))[0]) == ["b", "a"], "the order names the item"
    for value in (float("nan"), b"x", {1: "a"}, object()):
        with pytest.raises(TaskError, match="t: item 1 "):
            to_lines([{"value": value}], "t")
