"""The interval of a report: where it holds, and nowhere else."""

import pytest

from vllm_eval.report import summary
from vllm_eval.results import RunResult, TaskResult


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
