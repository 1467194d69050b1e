"""The metric text: what it holds, that it parses, and that it is the contract's."""

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tests.support.report_runs import result, run
from vllm_eval import metrics
from vllm_eval.exposition import PushGroup, build_group
from vllm_eval.gateway import group_path
from vllm_eval.records import LeafChange, Score, StoredComparison
from vllm_eval.speech import Quantiles, Speed, Thoughts


def parsed(group: PushGroup) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(group.text())
        for sample in family.samples
    }


def value(group: PushGroup, name: str, **labels: str) -> float | None:
    found = [
        number
        for (found_name, found_labels), number in parsed(group).items()
        if found_name == name and set(labels.items()) <= found_labels
    ]
    assert len(found) <= 1, found
    return found[0] if found else None


def comparison(verdict: str, *, decisive: bool = True, baseline: str | None = "r0") -> StoredComparison:
    return StoredComparison(
        verdict=verdict, decisive=decisive, p_value=0.01, baseline_mean=0.9, baseline_run=baseline, reason=""
    )


TIMES = Quantiles(p50=0.4, p90=0.6, p99=1.0)


def test_a_good_run_has_every_metric_of_the_contract() -> None:
    fell = LeafChange(leaf="l", score=0.2, baseline_mean=0.8, samples=10)
    good = result(
        comparison=comparison("worse").model_copy(update={"leaves": (fell,)}), leaves=("l",), leaf_series=True,
        scores=(Score(metric="f1", filter="none", value=0.5),), empty=1, truncated=2,
        choice_mass=0.9, answers=10, thoughts=Thoughts(answers=9, unfinished=1), speed=Speed(
            request=TIMES, first_token=TIMES, between_tokens=TIMES, tokens=40.0
        ),
    )  # fmt: skip
    names = {
        name
        for name, _ in parsed(build_group([run(1, good, output_tokens_per_second=800.0, leaves={"l": result(0.2)})]))
    }
    assert names == {metric.name for metric in metrics.METRICS}


def test_labels_are_the_contracts() -> None:
    good = result(comparison=comparison("same"), scores=(Score(metric="f1", filter="none", value=0.5),))
    by_name = {metric.name: set(metric.labels) for metric in metrics.METRICS}
    for name, labels in parsed(build_group([run(1, good)])):
        assert {label for label, _ in labels} == by_name[name]


def test_no_run_makes_no_text() -> None:
    assert build_group([]).text() == ""


def test_a_failed_task_keeps_its_last_good_score_and_tag() -> None:
    bad = result(None, cause="endpoint", problems=("down",))
    group = build_group([run(1, result(0.8)), run(2, bad, "v2", requests_per_second=None)])
    assert value(group, "vllm_eval_exact_match", model_tag="v1") == 0.8
    assert value(group, "vllm_eval_run_success", model_tag="v2") == 0
    assert value(group, "vllm_eval_last_run_timestamp_seconds", model_tag="v2") == 2.5
    assert value(group, "vllm_eval_last_success_timestamp_seconds", model_tag="v1") == 1.5
    assert value(group, "vllm_eval_run_info", run_id="r1") == 1


def test_a_task_that_never_was_good_has_no_score_series() -> None:
    names = {name for name, _ in parsed(build_group([run(1, result(None, cause="verification", problems=("x",)))]))}
    assert "vllm_eval_exact_match" not in names
    assert "vllm_eval_samples" not in names
    assert "vllm_eval_verdict" not in names


def test_a_task_that_is_no_longer_enabled_disappears() -> None:
    group = build_group([run(1, result()), run(2, result(), tasks={})])
    assert value(group, "vllm_eval_exact_match") is None


def test_the_last_decisive_verdict_stays() -> None:
    runs = [
        run(1, result(comparison=comparison("worse"))),
        run(2, result(comparison=comparison("inconclusive", decisive=False))),
    ]
    assert value(build_group(runs), "vllm_eval_verdict", verdict="worse") == 1
    assert value(build_group(runs), "vllm_eval_verdict", verdict="inconclusive") == 0


def test_the_next_decisive_verdict_replaces_it() -> None:
    runs = [run(1, result(comparison=comparison("worse"))), run(2, result(comparison=comparison("same")))]
    assert value(build_group(runs), "vllm_eval_verdict", verdict="worse") == 0
    assert value(build_group(runs), "vllm_eval_verdict", verdict="same") == 1


def test_an_accepted_baseline_ends_the_verdict_against_the_old_one() -> None:
    accepted = comparison("inconclusive", decisive=False, baseline="r1")
    runs = [run(1, result(comparison=comparison("worse"))), run(2, result(comparison=accepted))]
    assert value(build_group(runs), "vllm_eval_verdict", verdict="worse") == 0


@given(st.lists(st.sampled_from(["better", "same", "worse", "inconclusive", "no_baseline"]), min_size=1, max_size=6))
def test_exactly_one_verdict_holds(verdicts: list[str]) -> None:
    runs = [
        run(number, result(comparison=comparison(verdict, decisive=verdict in {"better", "same", "worse"})))
        for number, verdict in enumerate(verdicts)
    ]
    group = build_group(runs)
    states = [value(group, "vllm_eval_verdict", verdict=verdict) for verdict in metrics.VERDICTS]
    assert sorted(states, key=str) == [0.0, 0.0, 0.0, 0.0, 1.0]


label_text = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from(['"', "\\", "\n"]), max_size=30)


@given(
    rows=st.dictionaries(
        st.tuples(label_text, label_text, label_text, label_text), st.floats(allow_nan=True), min_size=1, max_size=5
    )
)
def test_any_label_and_number_is_read_back_as_written(rows: dict[tuple[str, str, str, str], float]) -> None:
    group = PushGroup()
    for labels, number in rows.items():
        group.set(metrics.EXACT_MATCH, dict(zip(metrics.TASK, labels, strict=True)), number)
    expected = {
        ("vllm_eval_exact_match", frozenset(zip(metrics.TASK, labels, strict=True))): number
        for labels, number in rows.items()
        if math.isfinite(number)
    }
    assert parsed(group) == expected


@given(label_text, label_text)
def test_group_paths_are_safe_and_tell_groups_apart(one: str, two: str) -> None:
    path = group_path(one, two)
    assert path.startswith("/metrics/job/vllm-eval/stack@base64/")
    assert len(path.split("/")) == 8
    assert all(char.isalnum() or char in "/@=_-" for char in path)
    assert (path == group_path(two, one)) is (one == two)
