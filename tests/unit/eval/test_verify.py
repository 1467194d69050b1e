"""Whether a score rests on its answers; nothing that does not may pass."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm_eval.config import TaskSettings
from vllm_eval.engines import TaskOutcome
from vllm_eval.engines.fake import FakeEngine
from vllm_eval.judge import judge
from vllm_eval.records import Sample
from vllm_eval.tasks import Task
from vllm_eval.verify import verify

KEY = ("exact_match", "none")


def task(expected: int | None, **settings: object) -> Task:
    return Task(
        name="task", settings=TaskSettings.model_validate({"enabled": True, **settings}), config={}, yaml_path=None,
        limit=None, expected=expected, hash="h",
    )  # fmt: skip


def sample(index: int, value: float) -> Sample:
    return Sample(item=str(index), doc_id=index, value=value, prompt="q", target="a", answer="a", judged="a")


def outcome(values: list[float]) -> TaskOutcome:
    return TaskOutcome(
        metrics={KEY: sum(values) / len(values)}, primary=KEY, samples=[sample(i, v) for i, v in enumerate(values)],
        answered=len(values), expected=len(values),
    )  # fmt: skip


GOOD = outcome([1.0, 0.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("expected", "broken", "named"),
    [
        (5, GOOD, "the task's files hold 5 items, the engine counts 4"),
        (5, replace(GOOD, expected=None), "4 items were scored, 5 were expected"),
        (None, replace(GOOD, expected=None), "nobody knows"),
        (4, replace(GOOD, answered=3), "3 items were scored"),
        (0, replace(outcome([1.0]), answered=0, samples=[], expected=0), "no item was scored"),
        (4, replace(GOOD, primary=None), "the metric 'exact_match' is missing"),
        (4, replace(GOOD, metrics={KEY: 1.2}), "not in 0..1"),
        (4, replace(GOOD, metrics={KEY: float("nan")}), "not in 0..1"),
        (4, replace(GOOD, metrics={}), "not in 0..1"),
        (4, replace(GOOD, metrics={KEY: 0.5}), "the items' mean is 0.75"),
        (4, replace(GOOD, samples=[sample(0, 1.0)] * 3 + [sample(1, 0.0)]), "scored more than once, the first is 0"),
        (4, replace(GOOD, samples=[sample(0, 1.0)]), "1 samples for 4 scored items"),
        (4, replace(GOOD, answers=4, empty=1), "1 of 4 answers are without text"),
        (4, replace(GOOD, answers=4, truncated=3), "3 of 4 answers are cut"),
        (4, replace(GOOD, problems=["the endpoint died"]), "the endpoint died"),
    ],
)
def test_every_flaw_is_found(expected: int | None, broken: TaskOutcome, named: str) -> None:
    assert any(named in problem for problem in verify(task(expected), broken))


def test_every_problem_is_reported() -> None:
    assert len(verify(task(9), replace(GOOD, metrics={KEY: 2.0}, empty=4, truncated=4))) >= 4


@given(
    values=st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=30),
    expected=st.integers(0, 30),
    empty=st.integers(0, 30),
    truncated=st.integers(0, 30),
    most_empty=st.floats(0, 1),
    most_truncated=st.floats(0, 1),
)
def test_a_score_passes_exactly_if_counts_and_shares_allow_it(
    values: list[float], expected: int, empty: int, truncated: int, most_empty: float, most_truncated: float
) -> None:
    found = verify(
        task(expected, max_empty_share=most_empty, max_truncated_share=most_truncated),
        replace(outcome(values), answers=len(values), empty=empty, truncated=truncated),
    )
    allowed = (
        len(values) == expected and empty <= most_empty * len(values) and truncated <= most_truncated * len(values)
    )
    assert (found == []) is allowed


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=50))
def test_the_standard_error_of_items_is_that_of_their_mean(values: list[float]) -> None:
    result = judge(FakeEngine(), task(len(values)), outcome(values), None)
    share = sum(values) / len(values)
    assert result.stderr == pytest.approx((share * (1 - share) / (len(values) - 1)) ** 0.5)


def test_one_item_has_no_standard_error() -> None:
    assert judge(FakeEngine(), task(1), outcome([1.0]), None).stderr is None


def test_a_failed_task_has_no_number_that_could_be_taken_for_a_score() -> None:
    result = judge(FakeEngine(), task(5), GOOD, None)
    assert (result.good, result.score, result.stderr, result.scores, result.paired) == (False, None, None, (), False)


def test_a_swapped_model_fails_every_task() -> None:
    result = judge(FakeEngine(), task(4), GOOD, "another model")
    assert (result.good, result.cause) == (False, "verification")
