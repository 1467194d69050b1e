"""Groups and tags: one line, many tasks, one score and one verdict."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.openai_server import OpenAIServer, Plan, share
from tests.support.workspace import Workspace
from vllm_eval import catalog
from vllm_eval.baseline import BaselineRule, compare_run
from vllm_eval.cli import main
from vllm_eval.config import TaskSettings
from vllm_eval.errors import TaskError
from vllm_eval.exposition import build_group
from vllm_eval.group_results import group_result
from vllm_eval.groups import TaskGroup, expand
from vllm_eval.leaves import named
from vllm_eval.records import RunResult, TaskResult
from vllm_eval.results import ResultStore
from vllm_eval.storage import open_storage

ON = TaskSettings(enabled=True)
NOWHERE = Path("no-such-folder")
SIZES = {"one": 7, "two": 13, "three": 20}


def configure(workspace: Workspace, group: str, config: dict[str, Any], sizes: dict[str, int] | None = None) -> None:
    """Write tasks, a group's YAML and the configuration."""
    for name, size in (sizes or SIZES).items():
        workspace.add_task(name, size)
    (workspace.root / "tasks" / "_group.yaml").write_text(group)
    workspace.configure({name: {"engine": "fake", **settings} for name, settings in config.items()})


def evaluate(workspace: Workspace, accuracy: float = 1.0, **environ: str) -> RunResult:
    """Run once against a server of this accuracy."""
    with workspace.served(OpenAIServer(workspace.answers, Plan(accuracy=accuracy))):
        assert workspace.run(**environ) == int(environ.pop("expected", "0"))
    return workspace.last()


ALL = "group: all\ntask: [one, {group: rest, task: [two, three]}]\n"


def test_a_group_of_the_folder_is_one_score_of_all_its_items(workspace: Workspace) -> None:
    configure(workspace, ALL, {"all": {}})
    run = evaluate(workspace, 0.7)
    assert list(run.tasks) == ["all"]
    assert list(run.leaves) == list(SIZES)
    result = run.tasks["all"]
    right = sum(share(question) < 0.7 for items in workspace.items.values() for question in items)
    assert result.score == pytest.approx(right / 40, abs=1e-12)
    assert (result.samples, result.expected, result.leaves) == (40, 40, tuple(SIZES))
    stratified = sum((SIZES[name] * (leaf.stderr or 0)) ** 2 for name, leaf in run.leaves.items()) ** 0.5 / 40
    assert result.stderr == pytest.approx(stratified, abs=1e-12)
    values = workspace.store.item_values(run, "all")
    assert values is not None
    assert values.items[:1] == ("one/0",)
    samples = workspace.store.samples(run, "all")
    assert samples is not None
    assert [sample.item for sample in samples] == list(values.items)


@pytest.mark.parametrize("by_size", ["true", "false"])
def test_a_group_is_compared_with_its_own_baseline_and_names_what_fell(
    workspace: Workspace, by_size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    weighed = f"aggregate_metric_list: [{{metric: exact_match, weight_by_size: {by_size}}}]\n"
    configure(workspace, ALL + weighed, {"all": {}}, {"one": 40, "two": 60, "three": 150})
    evaluate(workspace, VLLM_EVAL_RUN_ID="first")
    wrong = dict.fromkeys(workspace.items["two"], "0")
    with workspace.served(OpenAIServer({**workspace.answers, **wrong})):
        assert workspace.run(VLLM_EVAL_RUN_ID="second") == 0
    result = workspace.last().tasks["all"]
    assert result.comparison is not None
    assert result.comparison.verdict == "worse"
    assert "fell most: two 1.000 → 0.000" in capsys.readouterr().out
    assert workspace.last().leaves["two"].comparison is None
    page = (workspace.store.storage.read(f"{workspace.store.folder(workspace.last())}/report.html") or b"").decode()
    for shown in ("Fell most: two 1.000 → 0.000.", "3 tasks of all, those that lost most first", "find=two/"):
        assert shown in page
    (drop,) = [line for line in build_group([workspace.last()]).text().splitlines() if "vllm_eval_leaf_drop{" in line]
    assert 'leaf="two"' in drop
    assert drop.endswith(" 1.0")
    assert workspace.run("report", "--wrong", "0") == 0
    assert "two           0.000 ± 0.000  1.000     -1.000" in capsys.readouterr().out


def test_a_leaf_that_failed_leaves_no_score_and_the_next_attempt_asks_it_alone(workspace: Workspace) -> None:
    configure(workspace, ALL, {"all": {}})
    server = OpenAIServer(workspace.answers)
    server.reject = lambda body: "two:" in str(body["prompt"]) and "no such luck"
    with workspace.served(server):
        assert workspace.run(VLLM_EVAL_RUN_ID="run") == 3
        failed = workspace.last().tasks["all"]
        assert (failed.score, failed.cause, failed.paired) == (None, "endpoint", False)
        assert failed.problems[0].startswith("1 of 3 tasks have no score")
        assert failed.problems[1].startswith("two: ")
        assert "no such luck" in failed.problems[1]
        server.reject = None
        asked = len(server.requests)
        assert workspace.run(VLLM_EVAL_RUN_ID="run") == 0
    assert len(server.requests) == asked + SIZES["two"]
    assert workspace.last().tasks["all"].score == 1.0


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"all": {}, "two": {"limit": 3}}, "two: all wants limit None and two wants 3"),
        ({"all": {}, "other": {"limit": 2}}, "three: all wants limit None and other wants 2"),
        ({"one": {"leaves": True}}, "one: leaves is true, but it is no group or tag"),
    ],
)
def test_a_leaf_that_two_lines_want_differently_is_refused_by_name(
    workspace: Workspace, config: dict[str, Any], said: str
) -> None:
    configure(workspace, ALL, config)
    (workspace.root / "tasks" / "other.yaml").write_text("group: other\ntask: [three]\n")
    enabled = {name: TaskSettings(enabled=True, engine="fake", **settings) for name, settings in config.items()}
    with pytest.raises(TaskError) as caught:
        expand(enabled, workspace.root / "tasks")
    assert said in str(caught.value)


def test_a_leaf_that_two_lines_want_alike_is_asked_once_and_keeps_its_own_verdict(workspace: Workspace) -> None:
    configure(workspace, ALL, {"two": {}, "all": {"leaves": True}})
    server = OpenAIServer(workspace.answers)
    assert workspace.evaluate(server) == 0
    assert len(server.requests) == 40
    run = workspace.last()
    assert (list(run.tasks), list(run.leaves)) == (["two", "all"], ["one", "three"])
    assert run.tasks["two"].comparison is not None
    text = build_group([run]).text()
    assert text.count("vllm_eval_leaf_exact_match{") == 3
    assert text.count("vllm_eval_verdict{") == 2 * 5


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ("group: all\ntask: [one, nothing]\n", "names 'nothing', which is no task"),
        ("group: all\ntask: [one, all]\n", "part of itself (all)"),
        ("group: all\ntask: [{task: own, doc_to_text: x}]\n", "defines tasks in place"),
        ("group: all\ntask: [one]\nprocess_docs: !function utils.x\n", "lays a function over"),
        ("group: all\ntask: [one]\naggregate_metric_list: [{metric: m, aggregation: median}]\n", "only mean"),
        ("group: all\ntask: [one]\naggregate_metric_list: [exact_match]\n", "names no metric"),
        ("group: all\ntask: [one, {task: one, num_fewshot: 2}]\n", "it has one twice"),
        ("group: all\ntask: []\n", "group without tasks"),
    ],
)
def test_a_group_that_cannot_be_asked_is_refused(workspace: Workspace, group: str, said: str) -> None:
    configure(workspace, group, {"all": {}})
    with pytest.raises(TaskError) as caught:
        expand({"all": TaskSettings(enabled=True, engine="fake")}, workspace.root / "tasks")
    assert "all: " in str(caught.value)
    assert said in str(caught.value)


def test_a_groups_hash_is_of_its_leaves_and_their_weights() -> None:
    group = TaskGroup(name="g", settings=ON, leaves=("a", "b"), by_size=True)
    hashes = {"a": "1", "b": "2"}
    assert group.hash(hashes) == TaskGroup(name="h", settings=ON, leaves=("b", "a"), by_size=True).hash(hashes)
    assert group.hash(hashes) != replace(group, by_size=False).hash(hashes)
    assert group.hash(hashes) != group.hash({"a": "1", "b": "3"})


def test_one_line_enables_many_tasks_of_lm_eval_with_the_groups_settings() -> None:
    plan = expand({"mmlu_generative": TaskSettings(enabled=True, limit=5, num_fewshot=2)}, NOWHERE)
    assert len(plan.tasks) == 57
    assert {task.limit for task in plan.tasks.values()} == {5}
    assert plan.groups["mmlu_generative"].by_size
    tag = expand({"mgsm_direct": ON}, NOWHERE)
    assert list(tag.tasks) == catalog.members("mgsm_direct")
    assert tag.groups["mgsm_direct"].by_size


def test_the_score_is_the_yamls_metric_and_filter_unless_the_line_says_another() -> None:
    def leaf(name: str, **settings: object) -> tuple[str | None, str | None]:
        plan = expand({name: TaskSettings.model_validate({"enabled": True, **settings})}, NOWHERE)
        first = next(iter(plan.tasks.values()))
        return first.metric, first.filter

    # Of bbh_zeroshot the group looks at the leaves' second filter; of mmlu_generative at their first.
    assert leaf("bbh_zeroshot") == (None, "flexible-extract")
    assert leaf("bbh_zeroshot", filter="strict-match") == (None, "strict-match")
    assert leaf("mmlu_generative") == (None, None)
    assert leaf("mmlu") == (None, None)
    assert leaf("mmlu", metric="acc_norm") == ("acc_norm", None)
    # A group's keys that its leaves have anyway are laid over nothing: a leaf alone has the same hash.
    assert not expand({"hrm8k": ON}, NOWHERE).over


def test_a_filter_that_a_task_lacks_is_refused_before_the_first_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "eval_config.json"
    config.write_text('{"mmlu_generative": {"enabled": true, "filter": "strict"}}')
    assert main(["validate", "--config", str(config), "--tasks", str(tmp_path)]) == 2
    assert "and 54 more: it has the filter get_response, not 'strict'" in capsys.readouterr().err


def test_leaves_whose_items_are_parts_of_right_are_named_by_their_scores() -> None:
    leaf = {"engine": "fake", "engine_version": "1", "good": True, "stderr": 0.01, "samples": 400, "expected": 400}

    def run(number: int, second: float) -> RunResult:
        leaves = {
            name: TaskResult.model_validate({**leaf, "task": name, "task_hash": name, "score": score})
            for name, score in (("a", 0.8), ("b", second))
        }
        group = TaskGroup(name="g", settings=ON, leaves=("a", "b"), by_size=True)
        result = group_result(group, {"a": "a", "b": "b"}, leaves, None)
        model = {"name": "m", "tag": "v1"}
        return RunResult(
            run_id=str(number), stack="s", model=model, started=number, ended=number, tasks={"g": result}, leaves=leaves
        )

    store = ResultStore(open_storage("memory://groups"))
    runs = [run(1, 0.8), run(2, 0.2)]
    compared = compare_run(store, runs, runs[1], BaselineRule(accepted=None, series=1)).tasks["g"]
    assert compared.comparison is not None
    assert compared.comparison.verdict == "worse"
    assert named(compared) == "b 0.800 → 0.200"
