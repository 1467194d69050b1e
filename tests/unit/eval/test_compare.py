"""The verdicts of a comparison, case by case."""

import ast
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypedDict, Unpack, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm_eval import metrics
from vllm_eval.compare import BASELINE_RUNS, DECISIVE, TaskScore, Verdict, compare, pinned_baseline
from vllm_eval.stats import exchange, mcnemar, significance_level, two_proportions
from workbench.paths import REPOSITORY


class Changes(TypedDict, total=False):
    """What a test sets in a score."""

    task_hash: str
    engine_version: str
    n: int
    mean: float
    correct: Mapping[str, bool]
    clusters: Mapping[str, str]


def score(answers: str | list[bool], **changes: Unpack[Changes]) -> TaskScore:
    """A run whose items 0, 1, … were answered right (1) or wrong (0)."""
    correct = {f"item-{place}": answer in {"1", True} for place, answer in enumerate(answers)}
    return replace(replace(shares(sum(correct.values()), len(correct)), correct=correct), **changes)


def shares(right: float, of: int) -> TaskScore:
    """A run of which only the score is known."""
    return TaskScore(task_hash="hash", engine_version="lm_eval 0.4.13", n=of, mean=right / of)


def test_a_clear_drop_is_worse() -> None:
    result = compare(score("0" * 40 + "1" * 60), score("1" * 90 + "0" * 10), series=100)
    assert (result.verdict, result.decisive, result.method) == ("worse", True, "paired")
    assert result.p_value == mcnemar(losses=40, gains=10).worse
    assert result.baseline_mean == 0.9
    assert result.drop == pytest.approx(1 / 3)
    assert result.facts.code == "dropped"


def test_worse_needs_more_than_ten_percent_however_significant() -> None:
    """Exactly 10 % is not more: 450 against 500 of 1,000, all lost and none gained."""
    exactly = compare(score("1" * 450 + "0" * 550), score("1" * 500 + "0" * 500), series=100)
    assert exactly.p_value is not None
    assert exactly.p_value < 1e-14
    assert (exactly.verdict, exactly.decisive) == ("inconclusive", False)
    assert "not by more than 10 %" in exactly.facts.sentence()
    one_more = compare(score("1" * 449 + "0" * 551), score("1" * 500 + "0" * 500), series=100)
    assert one_more.verdict == "worse"


def test_ten_percent_is_of_the_baseline() -> None:
    """910 is 9 % below 1,000, but 1,000 is 9.9 % above 910; 905 is 10.5 % of it below."""
    for right, verdict in ((905, "inconclusive"), (899, "worse")):
        assert compare(score("1" * right + "0" * (1000 - right)), score("1" * 1000), series=1).verdict == verdict


def test_worse_needs_significance_however_large_the_drop() -> None:
    result = compare(score("1" * 4 + "0" * 16), score("1" * 18 + "0" * 2), series=100)
    assert result.drop == pytest.approx(7 / 9)
    assert (result.verdict, result.decisive) == ("inconclusive", False)
    assert "may be chance; more items would tell" in result.facts.sentence()


def test_the_level_allows_for_the_number_of_series() -> None:
    """13 items lost and none gained, p = 1.2e-4: enough for 10 series, not for 12; the two-sided value is not asked."""
    candidate, baseline = score("0" * 13 + "1" * 87), score("1" * 100)
    p_value = mcnemar(losses=13, gains=0).worse
    assert significance_level(12) < p_value <= significance_level(10) < 2 * p_value
    assert compare(candidate, baseline, series=10).verdict == "worse"
    assert compare(candidate, baseline, series=12).verdict == "inconclusive"
    assert compare(candidate, baseline, series=12).level == significance_level(12)


def test_a_clear_gain_is_better() -> None:
    result = compare(score("1" * 90 + "0" * 10), score("0" * 40 + "1" * 60), series=100)
    assert (result.verdict, result.decisive) == ("better", True)
    assert result.p_value == pytest.approx(1, abs=1e-3)
    assert result.drop == pytest.approx(-0.5)


def test_a_small_but_certain_gain_is_better() -> None:
    assert compare(score("1" * 970 + "0" * 30), score("1" * 950 + "0" * 50), series=100).verdict == "better"


def test_noise_is_the_same() -> None:
    result = compare(score("01" * 5 + "1" * 90), score("10" * 5 + "1" * 90), series=1)
    assert (result.verdict, result.decisive) == ("same", True)


def test_a_doubtful_run_does_not_end_a_regression() -> None:
    """9 % below with p = 0.03 may be a regression's lucky day; 8 % with p = 0.09 may well be nothing."""
    baseline = score("1" * 75 + "0" * 25)
    doubtful = compare(score("0" * 9 + "1" * 66 + "1" * 2 + "0" * 23), baseline, series=100)
    assert doubtful.p_value == mcnemar(losses=9, gains=2).worse < 0.05
    assert doubtful.drop == pytest.approx(7 / 75)
    assert (doubtful.verdict, doubtful.decisive) == ("inconclusive", False)
    harmless = compare(score("0" * 10 + "1" * 65 + "1" * 4 + "0" * 21), baseline, series=100)
    assert harmless.p_value == mcnemar(losses=10, gains=4).worse > 0.05
    assert harmless.verdict == "same"


def test_a_baseline_from_which_no_drop_could_be_told_is_never_the_same() -> None:
    """16 right answers lost are p = 1.5e-5: above the level of 100 series; 17 are below it."""
    blind = compare(score("1" * 16), score("1" * 16), series=100)
    assert (blind.verdict, blind.decisive) == ("inconclusive", False)
    assert "too few right answers" in blind.facts.sentence()
    assert compare(score("1" * 17), score("1" * 17), series=100).verdict == "same"
    assert compare(score("0" * 50), score("0" * 50), series=100).verdict == "inconclusive"
    assert compare(score("0" * 50), score("0" * 50), series=100).drop is None


def test_better_is_seen_from_zero() -> None:
    assert compare(score("1" * 30 + "0" * 20), score("0" * 50), series=100).verdict == "better"


@pytest.mark.parametrize("baseline", [None, (), []])
def test_without_a_run_there_is_no_baseline(baseline: Sequence[TaskScore] | None) -> None:
    result = compare(score("11"), baseline, series=1)
    assert (result.verdict, result.decisive, result.p_value, result.method) == ("no_baseline", False, None, None)
    assert (result.baseline_mean, result.baseline_runs, result.drop) == (None, 0, None)
    assert result.facts.sentence() == "there is no earlier run of this task"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task_hash": "other"}, "the task is not the one of the baseline"),
        ({"engine_version": "lm_eval 0.4.14"}, "the engine is lm_eval 0.4.13, the baseline's lm_eval 0.4.14"),
    ],
)
def test_what_cannot_be_compared_is_not(change: Changes, words: str) -> None:
    """Not even if the next run of the baseline could be."""
    result = compare(score("0" * 100), [score("1" * 100, **change), score("1" * 100)], series=1)
    assert result.verdict == "no_baseline"
    assert words in result.facts.sentence()
    assert "accept a new baseline" in result.facts.sentence()
    later = compare(score("0" * 100), [score("1" * 100), score("0" * 100, **change)], series=1)
    assert (later.verdict, later.baseline_runs, later.baseline_mean) == ("worse", 1, 1.0)


def test_the_verdicts_are_those_of_the_metric() -> None:
    assert set(get_args(Verdict)) == set(metrics.VERDICTS)
    assert {verdict for verdict in metrics.VERDICTS if verdict not in DECISIVE} == {"inconclusive", "no_baseline"}


def test_items_are_matched_by_id() -> None:
    """The same answers in another order are no change; the same number of other answers is."""
    answers = "1" * 50 + "0" * 50
    run = score(answers)
    assert run.correct is not None
    turned = replace(run, correct={item: run.correct[item] for item in reversed([*run.correct])})
    assert compare(turned, run, series=1).p_value == 1.0
    assert compare(score("0" * 50 + "1" * 50), run, series=1).p_value == mcnemar(50, 50).worse


@pytest.mark.parametrize("lacking", ["candidate", "baseline", "one of two", "an item"])
def test_without_the_same_items_two_proportions_are_compared(lacking: str) -> None:
    candidate, baseline = score("0" * 60 + "1" * 140), [score("1" * 180 + "0" * 20)]
    if lacking == "candidate":
        candidate = shares(140, 200)
    elif lacking == "baseline":
        baseline = [shares(180, 200)]
    elif lacking == "one of two":
        baseline.append(shares(184, 200))
    else:
        assert candidate.correct is not None
        candidate = replace(candidate, correct={f"{item}'": right for item, right in candidate.correct.items()})
    result = compare(candidate, baseline, series=100)
    right, n = (364, 400) if lacking == "one of two" else (180, 200)
    assert result.method == "two_proportions"
    assert result.p_value == two_proportions(140, 200, right, n).worse
    assert result.baseline_mean == right / n
    assert result.verdict == "worse"


def test_parts_of_a_right_answer_are_rounded_against_the_finding() -> None:
    """Partial credit makes a score of 60.4 and 79.6 right answers; 61 against 79 is what may be claimed."""
    assert compare(shares(60.4, 100), shares(79.6, 100), series=1).p_value == two_proportions(61, 100, 79, 100).worse
    better = compare(shares(79.6, 100), shares(35.4, 100), series=1)
    assert better.verdict == "better"
    assert better.drop == pytest.approx(1 - 79.6 / 35.4)


def test_several_baseline_runs_are_all_used() -> None:
    candidate = score("0" * 30 + "1" * 70)
    runs = [score("1" * 95 + "0" * 5), score("1" * 90 + "0" * 10), score("1" * 100)]
    result = compare(candidate, runs, series=100)
    rows = [[int(answer) for answer in (run.correct or {}).values()] for run in (candidate, *runs)]
    assert result.p_value == exchange(rows[0], rows[1:]).worse
    assert (result.baseline_runs, result.baseline_mean) == (3, 0.95)
    assert "of 3 baseline runs" in result.facts.sentence()


def test_clusters_are_one_unit() -> None:
    """30 items lost are certain if independent; if they share three passages, they are three."""
    candidate, baseline = "0" * 30 + "1" * 70, score("1" * 100)
    passages = {f"item-{place}": str(place // 10) for place in range(100)}
    assert compare(score(candidate), baseline, series=1).verdict == "worse"
    clustered = compare(score(candidate, clusters=passages), baseline, series=1)
    assert clustered.p_value == pytest.approx(1 / 8)
    assert clustered.verdict == "inconclusive"
    alone = {f"item-{place}": str(place) for place in range(100)}
    assert compare(score(candidate, clusters=alone), baseline, series=1).p_value == mcnemar(30, 0).worse


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"n": 0}, "n=0"),
        ({"mean": 1.5}, r"mean=1\.5"),
        ({"mean": math.nan}, "mean=nan"),
        ({"n": 5, "mean": 0.4}, "2 of 4 answers are right, which is not 0.4 of 5 items"),
        ({"mean": 0.75}, "2 of 4 answers are right, which is not 0.75 of 4 items"),
        ({"clusters": {"item-0": "a", "item-2": "a", "item-3": "a"}}, "no cluster for item 'item-1'"),
    ],
)
def test_a_score_that_contradicts_itself_is_refused(changes: Changes, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        score("1100", **changes)


def test_the_baseline_is_the_first_ten_runs_and_no_more_are_read() -> None:
    read = 0

    def runs() -> Iterator[TaskScore]:
        nonlocal read
        for _ in range(50):
            read += 1
            yield score("1" * 80 + "0" * 20)

    assert len(pinned_baseline(runs())) == BASELINE_RUNS == 10
    assert read == 10
    assert pinned_baseline([]) == ()


@pytest.mark.parametrize("outlier", ["1" * 55 + "0" * 45, "1" * 99 + "0" * 1])
def test_a_run_that_differs_does_not_join_and_is_not_replaced(outlier: str) -> None:
    """In either direction: to leave out only low runs would make the baseline a lucky one."""
    usual = [score("1" * 80 + "0" * 20) for _ in range(11)]
    pinned = pinned_baseline([*usual[:3], score(outlier), *usual[3:]])
    assert len(pinned) == 9
    assert {run.mean for run in pinned} == {0.8}


def test_a_little_noise_joins() -> None:
    assert len(pinned_baseline([score("1" * 80 + "0" * 20), score("1" * 75 + "0" * 25)])) == 2


def test_a_run_of_another_task_or_engine_does_not_join() -> None:
    """The accepted run says what the task is; nothing joins a run that is not like it."""
    runs = [score("1100"), score("1100", task_hash="other"), score("1100", engine_version="other"), score("1100")]
    assert pinned_baseline(runs) == (runs[0], runs[3])


@given(
    before=st.lists(st.booleans(), min_size=1, max_size=60),
    after=st.data(),
    series=st.integers(1, 1000),
)
def test_every_verdict_keeps_its_word(before: list[bool], after: st.DataObject, series: int) -> None:
    now = after.draw(st.lists(st.booleans(), min_size=len(before), max_size=len(before)))
    result = compare(score(now), score(before), series=series)
    dropped = 10 * sum(now) < 9 * sum(before)
    test = mcnemar(
        losses=sum(a and not b for a, b in zip(before, now, strict=True)),
        gains=sum(b and not a for a, b in zip(before, now, strict=True)),
    )
    assert result.p_value == test.worse
    assert (result.verdict == "worse") == (dropped and test.worse <= significance_level(series))
    assert (result.verdict == "better") == (test.better <= significance_level(series))
    if result.verdict == "same":
        assert not dropped
        assert test.worse > 0.05
        assert 2.0 ** -sum(before) <= significance_level(series)


def test_the_module_needs_nothing_but_the_standard_library() -> None:
    """An absent optional package must not change a verdict."""
    package = REPOSITORY / "eval/evalchemy"
    for name in ("compare", "errors", "metrics", "reasons", "stats", "strata"):
        tree = ast.parse((package / "vllm_eval" / f"{name}.py").read_text())
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert {module for module in modules if module.split(".")[0] not in sys.stdlib_module_names} <= {
            "vllm_eval.errors",
            "vllm_eval.metrics",
            "vllm_eval.reasons",
            "vllm_eval.stats",
            "vllm_eval.strata",
            *({"numpy", "numpy.typing"} if name == "strata" else ()),
        }
