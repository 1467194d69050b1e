"""The interval of a report: where it holds, and nowhere else."""

from pathlib import Path

import pytest

from tests.support.report_page import Page
from tests.support.report_runs import MODEL, STACK, history
from vllm_eval.cli import main
from vllm_eval.pages.run_page import render_run
from vllm_eval.records import RunResult, TaskResult
from vllm_eval.report import summary
from vllm_eval.results import ResultStore
from vllm_eval.storage import LocalStorage


def row(**changes: object) -> str:
    """The line of one task in the report."""
    task = TaskResult.model_validate(
        {
            "task": "t", "task_hash": "h", "engine": "e", "engine_version": "e 1", "good": True, "score": 0.8,
            "stderr": (0.8 * 0.2 / 99) ** 0.5, "samples": 100, "expected": 100, **changes,
        }
    )  # fmt: skip
    model = {"name": "m", "tag": "v1", "endpoint": "http://m/v1", "served_name": "m", "api": "chat"}
    run = RunResult(run_id="r", stack="s", model=model, started=1.0, ended=2.0, tasks={"t": task})
    return summary(run).splitlines()[-1]


@pytest.mark.parametrize(
    ("right", "interval"),
    # Wilson's formula with z = 1.959964, worked out apart from the code.
    [(80, "0.711 .. 0.867"), (0, "0.000 .. 0.037"), (100, "0.963 .. 1.000"), (50, "0.404 .. 0.596")],
)
def test_independent_items_have_wilsons_interval(right: int, interval: str) -> None:
    score = right / 100
    assert f" {interval} " in row(score=score, stderr=(score * (1 - score) / 99) ** 0.5)


@pytest.mark.parametrize(
    "changes",
    [
        {"stderr": 0.09},
        {"score": 0.8005},
        {"good": False, "score": None, "stderr": None, "cause": "endpoint", "problems": ("down",)},
        {"samples": 1, "score": 1.0, "stderr": None},
    ],
    ids=["clusters", "parts of an answer", "no score", "one item"],
)
def test_where_it_would_be_wrong_there_is_none(changes: dict[str, object]) -> None:
    assert ".." not in row(**changes)


def test_a_score_without_an_error_bar_still_has_its_interval() -> None:
    """Evalchemy's: the counts are known, its items are not."""
    assert " 0.711 .. 0.867 " in row(stderr=None)


def test_wrong_answers_begin_with_those_that_flipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = history(tmp_path, items=200)
    store = ResultStore(LocalStorage(tmp_path))
    rows = Page(render_run(store, store.runs(STACK, MODEL), run)).rows("custom_task_1")
    wrong = [row for row in rows if row[1] < 1]
    flipped = [row for row in wrong if row[7] > row[1]]
    others = [row for row in wrong if row[7] <= row[1]]
    assert flipped
    assert others
    words = ["report", "--out", str(tmp_path), "--stack", STACK, "--task", "custom_task_1", "--wrong", str(len(wrong))]
    assert main(words) == 0
    told = capsys.readouterr().out.split("custom_task_1: ")[1].splitlines()
    assert told[0] == f"{len(wrong)} of 200 answers are wrong, {len(flipped)} became wrong"
    assert [line.split()[0] for line in told[2:]] == [row[0] for row in (*flipped, *others)]
    judged = {row[0]: [row[3], row[5], row[9]] for row in wrong}
    complete = [line.split() for line in told[2:] if all(judged[line.split()[0]])]
    assert complete
    assert all(cells[1:4] == judged[cells[0]] for cells in complete)


@pytest.mark.parametrize("words", [["report"], ["report", "--html", "-"], ["compare"]], ids=" ".join)
def test_the_runs_are_read_once(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = history(tmp_path, items=20)
    ResultStore(LocalStorage(tmp_path)).save(run.model_copy(update={"run_id": "ahead", "started": run.started + 1e10}))
    assert main([*words, "--out", str(tmp_path), "--stack", STACK]) == 0
    assert capsys.readouterr().err.count("run ahead started in the future") == 1
