"""The suites: every task runs here, and their table says what the statistics do."""

import random
from pathlib import Path

import pytest

from vllm_eval import catalog
from vllm_eval.cli import main
from vllm_eval.compare import BASELINE_RUNS, TaskScore, compare
from vllm_eval.config import load_config
from vllm_eval.groups import expand
from vllm_eval.settings import load_settings
from vllm_eval.suites import FLIPS, ITEMS, SCORE, smallest_drop
from workbench.paths import REPOSITORY

CONFIGS = REPOSITORY / "eval" / "evalchemy" / "configs" / "suites"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.stem)
def test_every_task_of_a_suite_runs_as_it_is_configured(path: Path) -> None:
    enabled = load_config(path)
    plan = expand(enabled, REPOSITORY / "eval" / "evalchemy" / "tasks")
    for name, settings in plan.tasks.items():
        refusal = catalog.refuse(name, settings.metric, plan.over.get(name))
        assert refusal is None or refusal.reason is catalog.Reason.PACKAGE, (name, refusal)
    for name in enabled:
        assert ITEMS[name].tasks == (len(plan.groups[name].leaves) if name in plan.groups else 1)
        assert name not in plan.groups or plan.groups[name].by_size
    requests = sum(ITEMS[name].asked(settings.limit) for name, settings in enabled.items())
    assert path.stem != "quick" or requests / 10 / 60 <= 15


@pytest.mark.parametrize(("items", "sampled"), [(541, True), (541, False), (2000, True)])
def test_the_smallest_drop_is_called_worse_in_four_of_five_runs(items: int, sampled: bool) -> None:
    chance = random.Random(items)  # noqa: S311
    drop = smallest_drop(items, 5, sampled=sampled)
    names = [str(item) for item in range(items)]

    def run(lost: float) -> TaskScore:
        share = SCORE - lost
        if sampled:
            right = [chance.random() < share for _ in names]
        else:
            right = [(item < items * share) != (chance.random() < FLIPS) for item in range(items)]
        correct = dict(zip(names, right, strict=True))
        return TaskScore(task_hash="h", engine_version="e", n=items, mean=sum(right) / items, correct=correct)

    called = 0
    for _ in range(100):
        baseline = [run(0.0) for _ in range(BASELINE_RUNS)]
        called += compare(run(drop * SCORE), baseline, series=5).verdict == "worse"
    assert 65 <= called <= 95


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.stem)
def test_a_suite_is_judged_without_its_data(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--no-data", "--config", str(path)]) == 0
    assert "have their data on a hub or in a bundle" in capsys.readouterr().out


def test_a_configuration_may_lie_anywhere() -> None:
    assert load_settings({"VLLM_EVAL_CONFIG": "/eval_config.json"}, {}).tasks_folder == Path("/tasks")
