"""Which runs are the baseline, what accepting changes, and what retention must keep for it."""

import json

import pytest

from tests.support.openai_server import OpenAIServer, Plan, running
from tests.support.workspace import MODEL, Workspace
from vllm_eval.baseline import BaselineRule
from vllm_eval.compare import BASELINE_RUNS
from vllm_eval.records import RunResult, Sample, TaskResult
from vllm_eval.results import ResultStore
from vllm_eval.retention import apply_retention, needed_runs
from vllm_eval.settings import INCREMENTAL_JOB, RunSettings
from vllm_eval.stats import wilson_interval
from vllm_eval.storage import LocalStorage

FIRST = BaselineRule(accepted=None, series=1)


def result(*, good: bool = True, task_hash: str = "h", engine: str = "e 1") -> TaskResult:
    return TaskResult(
        task="t", task_hash=task_hash, engine="e", engine_version=engine, good=good, score=0.5 if good else None,
        samples=2, expected=2, paired=good, cause=None if good else "verification",
    )  # fmt: skip


def run(number: int, task: TaskResult | None = None, tag: str = "v1") -> RunResult:
    model = {"name": "m", "tag": tag, "endpoint": "http://m/v1", "served_name": "m", "api": "chat"}
    return RunResult(
        run_id=f"r{number}", stack="s", model=model, started=float(number), ended=number + 0.5,
        tasks={"t": task or result()},
    )  # fmt: skip


def chosen(runs: list[RunResult], rule: BaselineRule = FIRST, task: TaskResult | None = None) -> list[str]:
    return [item.run_id for item in rule.choose(runs, task or result())]


def test_it_begins_with_the_first_good_run_and_takes_in_ten() -> None:
    runs = [run(0, result(good=False)), *(run(number) for number in range(1, 20))]
    assert chosen(runs) == [f"r{number}" for number in range(1, BASELINE_RUNS + 1)]


def test_another_tag_and_failed_runs_do_not_join() -> None:
    assert chosen([run(1), run(2, tag="v2"), run(3, result(good=False)), run(4)]) == ["r1", "r4"]


@pytest.mark.parametrize("old", [result(task_hash="old"), result(engine="e 0")])
def test_a_changed_task_or_engine_begins_a_new_one(old: TaskResult) -> None:
    assert chosen([run(1, old), run(2)]) == ["r2"]


def test_the_accepted_run_begins_it() -> None:
    assert chosen([run(1), run(2), run(3)], BaselineRule(accepted="r2", series=1)) == ["r2", "r3"]


@pytest.mark.parametrize("accepted", ["gone", "r1"])
def test_an_accepted_run_that_is_lost_or_failed_is_not_replaced(accepted: str) -> None:
    assert chosen([run(1, result(good=False)), run(2)], BaselineRule(accepted=accepted, series=1)) == []


def test_retention_keeps_what_published_values_rest_on() -> None:
    runs = [run(number) for number in range(1, 40)]
    last = run(40, result(good=False))
    assert needed_runs([*runs, last], last, FIRST) == {*(f"r{number}" for number in range(1, 11)), "r39", "r40"}


def test_retention_removes_the_rest_by_count_and_by_age(workspace: Workspace) -> None:
    store = ResultStore(LocalStorage(workspace.root))
    runs = [run(number) for number in range(1, 31)]
    samples = [Sample(item="0", doc_id=0, value=1, prompt="", target="", answer="", judged="")]
    for item in runs:
        store.save(item)
        store.save_samples(item, "t", samples, {})
    apply_retention(store, runs[-1], FIRST, RunSettings(keep_runs=5, keep_days=1e6))
    kept = [item.run_id for item in store.runs("s", "m")]
    assert kept == [*(f"r{number}" for number in range(1, 11)), *(f"r{number}" for number in range(26, 31))]
    apply_retention(store, runs[-1], FIRST, RunSettings(keep_runs=1000, keep_days=1))
    assert len(store.runs("s", "m")) == 11
    assert store.samples(runs[0], "t") == samples
    assert not (workspace.root / "runs" / "s" / "m" / "r25").exists()


class Days:
    """Runs of one model, day after day, with the server's accuracy set for each."""

    def __init__(self, workspace: Workspace, server: OpenAIServer) -> None:
        self.workspace = workspace
        self._server = server
        self._day = 0

    def run(self, accuracy: float, **environ: str) -> int:
        self._day += 1
        self._server.plan = Plan(accuracy=accuracy)
        return self.workspace.run(VLLM_EVAL_RUN_ID=f"day-{self._day}", **environ)

    @property
    def verdict(self) -> str:
        comparison = self.workspace.last().tasks["task"].comparison
        assert comparison is not None
        return comparison.verdict


@pytest.fixture
def days(workspace: Workspace) -> Days:
    workspace.add_task("task", 200)
    return Days(workspace, OpenAIServer(workspace.answers))


def serve(days: Days, url: str, **fields: object) -> None:
    days.workspace.set_models(days.workspace.model(url, concurrency=32, **fields))


def test_a_drop_is_called_worse_and_gates_only_when_asked(days: Days) -> None:
    with running(days._server) as url:
        serve(days, url)
        assert days.run(0.9) == 0
        assert days.verdict == "no_baseline"
        assert days.run(0.9) == 0
        assert days.verdict == "same"
        assert days.run(0.5) == 0
        assert days.verdict == "worse"
        assert days.run(0.5, VLLM_EVAL_GATE="1") == 6
        assert days.run(0.9, VLLM_EVAL_GATE="1") == 0


def test_small_drops_in_a_row_do_not_creep_past_it(days: Days) -> None:
    with running(days._server) as url:
        serve(days, url)
        for step in range(11):
            assert days.run(0.95 * 0.98**step if step else 0.95) == 0
            serve(days, url, tag=f"v{step + 2}")
    assert days.verdict == "worse"


def test_accepting_in_the_settings_compares_anew_without_asking_again(days: Days) -> None:
    (days.workspace.root / "git-commit").write_text("c1")
    job = {"VLLM_EVAL_JOB_NAME": INCREMENTAL_JOB}
    with running(days._server) as url:
        serve(days, url)
        days.run(0.9, **job)
        (days.workspace.root / "git-commit").write_text("c2")
        days.run(0.5, **job)
        assert days.verdict == "worse"
        asked = len(days._server.requests)
        serve(days, url, baseline={"run": "day-2"})
        assert days.run(0.5, **job) == 0
        assert days.verdict == "same"
        assert len(days._server.requests) == asked


def test_accepting_on_a_laptop_and_comparing(days: Days, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = days.workspace
    with running(days._server) as url:
        serve(days, url)
        days.run(0.9)
        days.run(0.5)
    assert workspace.run("compare", "--gate") == 6
    assert "worse" in capsys.readouterr().out
    assert workspace.run("accept", "--run", "day-2") == 0
    assert "baseline: {run: day-2}" in capsys.readouterr().out
    assert workspace.run("compare", "--gate") == 0
    assert workspace.run("compare", "--baseline", "day-1", "--gate") == 6
    assert workspace.run("compare", "--baseline", "day-9") == 2
    assert workspace.run("compare", "--model", "nobody") == 2


def test_a_file_of_a_laptop_does_not_accept_for_a_stack(days: Days) -> None:
    with running(days._server) as url:
        serve(days, url)
        days.run(0.9)
        days.run(0.5)
        assert days.workspace.run("accept", "--run", "day-2") == 0
        days.run(0.5)
        assert days.verdict == "worse"


def test_an_incomplete_run_cannot_be_accepted(days: Days) -> None:
    days.workspace.set_models(days.workspace.model("http://127.0.0.1:9/v1"))
    assert days.run(0.9) == 3
    assert days.workspace.run("accept") == 2


def test_a_damaged_acceptance_is_an_error_and_no_other_baseline(days: Days) -> None:
    with running(days._server) as url:
        arguments = ("run", "--endpoint", url, "--model", "fake-model", "--tag", "v1")
        assert days.workspace.run(*arguments) == 0
        assert days.workspace.run("accept") == 0
        (file,) = (days.workspace.root / "results" / "accepted").rglob("*.json")
        file.write_text("{")
        assert days.workspace.run(*arguments) == 3


def test_the_report_shows_scores_and_wrong_answers(days: Days, capsys: pytest.CaptureFixture[str]) -> None:
    with running(days._server) as url:
        serve(days, url)
        days.run(0.5)
    capsys.readouterr()
    assert days.workspace.run("report", "--wrong", "2") == 0
    said = capsys.readouterr().out
    score = days.workspace.score("task", 0.5)
    assert f"{MODEL} v1 (run day-1" in said
    low, high = wilson_interval(round(200 * score), 200)
    assert f"{score:.3f} ± {(score * (1 - score) / 199) ** 0.5:.3f}  {low:.3f} .. {high:.3f}  200/200" in said
    assert f"task: {round(200 * (1 - score))} of 200 answers are wrong" in said
    assert "what is" in said
    assert days.workspace.run("report", "--run", "nope") == 2
    assert days.workspace.run("report", "--stack", "nope") == 2


def test_a_damaged_record_is_left_out_and_costs_nothing_else(days: Days) -> None:
    with running(days._server) as url:
        serve(days, url)
        days.run(0.9)
        days.run(0.9)
        folder = days.workspace.root / "results" / "runs" / "default" / "org%2Ffake-model"
        (folder / "day-1" / "result.json").write_text("{")
        (folder / "day-2" / "values" / "task.json.gz").write_bytes(b"no gzip")
        assert days.run(0.9) == 0
    comparison = json.loads((folder / "day-3" / "result.json").read_text())["tasks"]["task"]["comparison"]
    assert (comparison["verdict"], comparison["baseline_run"]) == ("same", "day-2")
