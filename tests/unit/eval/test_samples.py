"""Several answers to each item: each is scored as any other, and their count is the item's value."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.openai_server import OpenAIServer, share
from tests.support.workspace import Workspace
from vllm_eval.baseline import task_score
from vllm_eval.compare import TaskScore, compare
from vllm_eval.engines.repeats import further_scores
from vllm_eval.pages.view import task_view
from vllm_eval.pages.words import ENGLISH
from vllm_eval.records import ItemValues, Sample, TaskResult, item_values
from vllm_eval.stats import standard_error

SETTINGS = {"engine": "lm_eval", "samples": 4, "generation": {"temperature": 0.7}}


def by_seed(body: Mapping[str, Any], right: str | None) -> Mapping[str, Any]:
    """Answer right or wrong by a hash of question and seed, as sampling does."""
    said = right if share(json.dumps([body["prompt"], body["seed"]])) < 0.6 else "wrong"
    return {"choices": [{"index": 0, "text": said, "finish_reason": "stop"}]}


def test_each_answer_is_scored_and_the_items_count_is_compared(workspace: Workspace) -> None:
    workspace.add_task("t", 12, settings=SETTINGS)
    workspace.add_task("once", 5, settings={"engine": "lm_eval"})
    server = OpenAIServer(workspace.answers)
    server.reply = by_seed
    with workspace.served(server):
        assert workspace.run() == 0
        assert workspace.run() == 0
    asked = [body for body in server.requests if "t: what" in body["prompt"]][: 12 * 4]
    assert {body["seed"] for body in asked} == {1234, 1235, 1236, 1237}
    right = [by_seed(body, "right")["choices"][0]["text"] == "right" for body in asked]
    run = workspace.last()
    result = run.tasks["t"]
    assert result.score == pytest.approx(sum(right) / 48)
    assert (result.samples, result.expected, result.repeats) == (12, 12, 4)
    samples = workspace.store.samples(run, "t") or []
    assert [sample.repeat for sample in samples] == [0, 1, 2, 3] * 12
    values = workspace.store.item_values(run, "t")
    assert values is not None
    assert sum(values.counts() or ()) == sum(right)
    assert result.stderr == standard_error(values.values)
    assert {score.metric for score in result.scores} == {"pass@2", "pass@4", "maj@4"}
    assert result.comparison is not None
    assert "12 items x 4 answers" in result.comparison.reason
    assert run.tasks["once"].repeats == 1
    view = task_view(workspace.store, [run], run, result, None, t=ENGLISH)
    assert view.speech.startswith("each item asked 4 times, a request 0")
    assert view.counts is not None
    assert view.counts.items == 48


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({**SETTINGS, "generation": {}}, "without a temperature are all the same"),
        ({**SETTINGS, "engine": "fake"}, "the fake engine asks once"),
    ],
)
def test_repeats_that_would_be_equal_are_refused(workspace: Workspace, settings: Mapping[str, Any], named: str) -> None:
    workspace.add_task("t", 2, settings=settings)
    server = OpenAIServer(workspace.answers)
    assert workspace.evaluate(server) == 2
    assert named in workspace.last().tasks["t"].problems[0]
    assert not server.requests


def of_items(rows: list[list[tuple[float, str]]]) -> list[Sample]:
    return [
        Sample(
            item=str(item), doc_id=item, value=value, prompt="", target="", answer=text, judged=text, repeat=repeat
        )
        for item, row in enumerate(rows)
        for repeat, (value, text) in enumerate(row)
    ]  # fmt: skip


def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_answer() -> None:
    rows = [[(float(place in rights), str(place)) for place in range(6)] for rights in ((), (0,), (1, 4), range(6))]
    found = further_scores(of_items(rows))
    for k in (2, 4, 6):
        draws = [[any(value for value, _ in draw) for draw in itertools.combinations(row, k)] for row in rows]
        assert found[f"pass@{k}"] == pytest.approx(sum(sum(each) / len(each) for each in draws) / len(rows))


def test_the_majority_answers_for_an_item() -> None:
    rows = [
        [(1.0, "7"), (0.0, "8"), (1.0, "7")],
        [(0.0, ""), (0.0, ""), (1.0, "7")],
        [(0.0, "8"), (1.0, "7"), (0.0, "9")],
    ]
    assert further_scores(of_items(rows))["maj@3"] == pytest.approx(2 / 3)
    assert further_scores(of_items([[(0.5, "7"), (1.0, "7")]])) == {}
    assert further_scores(of_items([[(1.0, "7")]])) == {}


def score(counts: list[int], samples: int, **changes: Any) -> TaskScore:  # noqa: ANN401 - fields of a score
    n = len(counts)
    fields = {
        "task_hash": "h", "engine_version": "e", "n": n, "mean": sum(counts) / n / samples, "samples": samples,
        "correct": {str(item): count for item, count in enumerate(counts)},
    }  # fmt: skip
    return TaskScore(**{**fields, **changes})


def test_the_answers_to_an_item_are_one_unit() -> None:
    """Ten items that all of a sudden fail in all 8 answers are ten coins, not eighty."""
    drop = compare(score([0] * 10 + [8] * 10, 8), score([8] * 20, 8), series=1)
    assert drop.p_value == pytest.approx(2**-10)
    for items in (None, {f"other {item}": 8 for item in range(20)}):
        unpaired = compare(score([0] * 10 + [8] * 10, 8), score([8] * 20, 8, correct=items), series=1)
        assert unpaired.method == "two_proportions"
        assert (unpaired.p_value or 0) > 2**-13, "20 items against 20, not 160 answers"


def test_values_that_are_no_counts_are_compared_by_their_mean() -> None:
    samples = of_items([[(0.5, "a"), (1.0, "b")], [(0.0, "a"), (0.0, "b")]])
    values = item_values(samples)
    assert (values.values, values.samples, values.counts()) == ((0.75, 0.0), 2, None)
    result = TaskResult(
        task="t", task_hash="h", engine="e", engine_version="e", good=True, score=0.375, samples=2, repeats=2
    )  # fmt: skip
    assert task_score(result, values).correct is None
    assert ItemValues(items=("a",), values=(1.0,)).counts() == [1]


def test_validate_says_who_decides_and_what_could_be_shown(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.add_task("t", 12, settings={"engine": "lm_eval", "samples": 4, "generation": {"top_p": 0.9}})
    workspace.add_task("few", 5, settings={"engine": "lm_eval"})
    path = workspace.root / "models.json"
    workspace.set_models(workspace.model("http://m/v1", generation={"temperature": 0.6, "max_tokens": 900}))
    assert workspace.run("validate", "--models-file", str(path)) == 0
    said = capsys.readouterr().out
    order = 'until ["\\n"] (YAML), temperature 0.6 (model), max_tokens 900 (model), top_p 0.9 (task)'
    assert f"t of org/fake-model is asked with {order}" in said
    assert "t: WARNING: 12 items x 4 samples, sampled: a drop from 0.5 to" in said
    assert "few: WARNING: 5 items could show no drop at the level" in said
    workspace.set_models(workspace.model("http://m/v1"))
    assert workspace.run("validate", "--models-file", str(path)) == 2
    assert "t of org/fake-model: samples: 4 answers without a temperature" in capsys.readouterr().err
