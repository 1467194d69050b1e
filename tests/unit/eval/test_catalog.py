"""lm_eval's own tasks are judged by their YAML, before anything is fetched or asked."""

import json
from pathlib import Path

import pytest

from vllm_eval import catalog, coverage
from vllm_eval.catalog import Reason
from vllm_eval.cli import main
from vllm_eval.config import parse_config
from vllm_eval.errors import ConfigError
from workbench.paths import REPOSITORY


@pytest.mark.parametrize(
    ("name", "metric", "reason", "said"),
    [
        ("gsm8kk", "exact_match", Reason.UNKNOWN, "near names: gsm8k"),
        ("MMLU", "exact_match", Reason.UNKNOWN, "near names: mmlu,"),
        ("math500", "exact_match", Reason.UNKNOWN, "hendrycks_math500"),
        ("hellaswag", "exact_match", Reason.CHOOSE_METRIC, "acc_norm"),
        ("wikitext", "exact_match", Reason.PERPLEXITY, "loglikelihood_rolling"),
        ("polemo2_in", None, Reason.SCRIPT, "hf_evaluate"),
        ("humaneval", "exact_match", Reason.CODE, "unsafe_code"),
        ("chartqa", "exact_match", Reason.MEDIA, "images"),
        ("squadv2", "exact_match", Reason.CLASS, "Python class"),
        ("wmt16-de-en", "exact_match", Reason.METRIC, "bleu is 0 to 100"),
        ("truthfulqa_gen", "bleu_max", Reason.METRIC, "take bleu_acc or"),
        ("drop", "exact_match", Reason.CHOOSE_METRIC, "em, f1"),
    ],
)
def test_a_task_that_cannot_run_is_refused_by_its_yaml_with_the_reason(
    name: str, metric: str | None, reason: Reason, said: str
) -> None:
    refusal = catalog.refuse(name, metric)
    assert refusal is not None
    assert refusal.reason is reason
    assert said in refusal.text


@pytest.mark.parametrize(("name", "metric"), [("gsm8k", "exact_match"), ("drop", "f1"), ("truthfulqa_gen", "bleu_acc")])
def test_a_generative_task_with_a_metric_in_range_is_taken(name: str, metric: str) -> None:
    assert catalog.refuse(name, metric) is None


@pytest.mark.parametrize(
    ("name", "count"), [("kmmlu_direct", 45), ("mmlu_generative", 57), ("bbh", 27), ("minerva_math", 7), ("gsm8k", 1)]
)
def test_groups_of_groups_come_down_to_their_tasks_each_once(name: str, count: int) -> None:
    leaves = catalog.members(name)
    assert len(leaves) == len(set(leaves)) == count
    assert all(catalog.manager().task_index[leaf].kind.name == "TASK" for leaf in leaves)


def test_a_package_that_a_module_imports_is_missed_without_running_the_module(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("import package_that_nobody_has\n")
    (tmp_path / "utils.py").write_text(
        "import sys\nimport helper\ntry:\n    import optional_thing\nexcept ImportError:\n    pass\n"
        "try:\n    import needed_thing\nexcept ImportError as error:\n    raise ValueError from error\n"
        "def late():\n    import late_thing\nsys.exit(1)\n"
    )
    assert catalog.missing_packages({"process_docs": f"{tmp_path}/utils.process"}) == [
        "needed_thing",
        "package_that_nobody_has",
    ]


def test_the_runner_installs_what_ifeval_and_minerva_math_import() -> None:
    locked = (REPOSITORY / "eval" / "evalchemy" / "requirements.txt").read_text()
    for package in ("langdetect", "immutabledict", "sympy", "math-verify", "antlr4-python3-runtime"):
        assert f"\n{package}==" in locked


def test_validate_names_all_unfit_built_in_tasks_at_once_and_fetches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse_to_load(*_: object) -> None:
        raise AssertionError("a task was loaded, which fetches its data")

    monkeypatch.setattr("vllm_eval.engines.lm_eval.load", refuse_to_load)
    (tmp_path / "tasks").mkdir()
    config = tmp_path / "eval_config.json"
    enabled = {"mmlu": {"metric": "exact_match"}, "humaneval": {}, "gsm8kk": {}}
    config.write_text(json.dumps({name: {"enabled": True, **settings} for name, settings in enabled.items()}))
    assert main(["validate", "--config", str(config), "--tasks", str(tmp_path / "tasks")]) == 2
    shown = capsys.readouterr().err
    for said in ("and 54 more: its metric_list has acc", "humaneval: unsafe_code", "gsm8kk: is neither"):
        assert said in shown


def test_names_with_parentheses_can_be_enabled_and_others_are_still_refused() -> None:
    name = "darijammlu_arabic_language_(general)"
    assert list(parse_config(f'{{"{name}": {{"enabled": true}}}}', "file")) == [name]
    with pytest.raises(ConfigError, match="parentheses only"):
        parse_config('{"a/b": {"enabled": true}}', "file")


def test_the_list_of_a_group_says_what_runs_and_the_sums_by_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "leaderboard"]) == 0
    shown = capsys.readouterr().out
    assert "39 tasks" in shown
    assert main(["tasks", "wikitext"]) == 0
    assert "is perplexity" in capsys.readouterr().out
    assert main(["tasks", "wikitext", "--refused"]) == 0
    assert "wikitext: output_type 'loglikelihood_rolling'" in capsys.readouterr().out
    assert main(["tasks", "gsm8k", "--refused"]) == 0
    assert main(["tasks", "nothing_is_called_so"]) == 2


def test_the_table_of_tasks_is_that_of_the_pinned_lm_eval_and_the_locked_packages() -> None:
    document = (REPOSITORY / "docs" / "tasks.md").read_text(encoding="utf-8")
    requirements = (REPOSITORY / "eval" / "evalchemy" / "requirements.txt").read_text(encoding="utf-8")
    counts = coverage.count(coverage.packages(requirements))
    assert coverage.write(document, counts) == document, "make generate"
    assert sum(counts.values()) == 13_123
