"""Task YAML files: where they and their data are found, and what their hash covers."""

import json
from pathlib import Path

import pytest

from tests.support.workspace import Workspace
from vllm_eval.config import TaskSettings, load_config
from vllm_eval.errors import TaskError
from vllm_eval.sources import read_yaml
from vllm_eval.tasks import Task, load_tasks
from workbench.paths import REPOSITORY

ON = TaskSettings(enabled=True)


def load(workspace: Workspace, name: str = "task", *, limit: int | None = None, api: str = "completions") -> Task:
    return load_tasks({name: ON}, workspace.root / "tasks", limit=limit, api=api)[0]


def edit(workspace: Workspace, old: str, new: str) -> None:
    path = workspace.root / "tasks" / "task.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_data_is_found_from_any_working_directory(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    workspace.add_task("task", 7)
    monkeypatch.chdir(tmp_path)
    task = load(workspace)
    assert task.data_files == {"test": ((workspace.root / "data" / "task.jsonl").resolve(),)}
    assert task.expected == 7


def test_a_limit_bounds_what_is_expected(workspace: Workspace) -> None:
    workspace.add_task("task", 7)
    assert load(workspace, limit=3).expected == 3
    assert load(workspace, limit=30).expected == 7


def test_a_line_separator_inside_an_item_is_no_end_of_a_line(workspace: Workspace) -> None:
    workspace.add_task("task", 1)
    file = workspace.root / "data" / "task.jsonl"
    item = json.loads(file.read_text())
    item["note"] = "one\u2028two\u0085three"
    file.write_text(json.dumps(item, ensure_ascii=False) + "\n", encoding="utf-8")
    assert load(workspace).expected == 1


def test_the_hash_is_stable_and_does_not_know_where_the_files_are(workspace: Workspace, tmp_path: Path) -> None:
    workspace.add_task("task", 7)
    elsewhere = Workspace(tmp_path / "elsewhere")
    elsewhere.add_task("task", 7)
    assert load(workspace).hash == load(workspace).hash == load(elsewhere).hash


def test_a_limit_above_the_number_of_items_changes_nothing(workspace: Workspace) -> None:
    workspace.add_task("task", 7)
    assert load(workspace).hash == load(workspace, limit=7).hash == load(workspace, limit=99).hash
    assert load(workspace).hash != load(workspace, limit=6).hash


def test_the_hash_covers_all_that_changes_the_question(workspace: Workspace) -> None:
    workspace.add_task("task", 7)
    seen = {load(workspace).hash, load(workspace, api="chat").hash}
    for old, new in (
        ("max_gen_toks: 16", "max_gen_toks: 17"),
        ("Answer:", "A:"),
        ("exact_match", "exact_match\n    ignore_case: true"),
    ):
        edit(workspace, old, new)
        seen.add(load(workspace).hash)
    data = workspace.root / "data" / "task.jsonl"
    data.write_text(data.read_text().replace('"answer": "1"', '"answer": "2"'))
    seen.add(load(workspace).hash)
    edit(workspace, "doc_to_target:", "process_results: !function helper.judge\ndoc_to_target:")
    (workspace.root / "tasks" / "helper.py").write_text("def judge(doc, results): ...\n")
    seen.add(load(workspace).hash)
    (workspace.root / "tasks" / "helper.py").write_text("def judge(doc, results): return {}\n")
    seen.add(load(workspace).hash)
    assert len(seen) == 8


def test_includes_are_merged_under_the_file(workspace: Workspace) -> None:
    folder = workspace.root / "tasks"
    (folder / "base.yaml").write_text("a: 1\nb: 1\n")
    (folder / "top.yaml").write_text("include: base.yaml\nb: 2\n")
    assert read_yaml(folder / "top.yaml").config == {"a": 1, "b": 2}


def test_a_file_that_includes_itself_is_refused(workspace: Workspace) -> None:
    path = workspace.root / "tasks" / "loop.yaml"
    path.write_text("include: loop.yaml\n")
    with pytest.raises(TaskError, match="includes itself"):
        read_yaml(path)


def test_all_bad_files_are_named_at_once(workspace: Workspace) -> None:
    for name in ("one", "two", "three"):
        workspace.add_task(name, 3)
    (workspace.root / "data" / "one.jsonl").unlink()
    (workspace.root / "data" / "two.jsonl").write_text('{"question": "q"}\nnot json\n')
    (workspace.root / "data" / "three.jsonl").write_text("\n")
    (workspace.root / "tasks" / "copy.yaml").write_text("task: one\n")
    (workspace.root / "tasks" / "broken.yaml").write_text("a: [\n")
    with pytest.raises(TaskError) as caught:
        load_tasks(dict.fromkeys(("one", "two", "three"), ON), workspace.root / "tasks", limit=None, api="completions")
    text = str(caught.value)
    for named in ("'one' is already defined", "two.jsonl, line 2", "holds no item", "broken.yaml: cannot be read"):
        assert named in text


def test_a_missing_data_file_names_the_yaml_and_the_path(workspace: Workspace) -> None:
    workspace.add_task("task", 3)
    (workspace.root / "data" / "task.jsonl").unlink()
    with pytest.raises(TaskError, match=r"task.yaml: data_files.test: .*task.jsonl is not there"):
        load(workspace)


def test_a_task_without_a_yaml_is_left_to_its_engine(workspace: Workspace) -> None:
    task = load(workspace, "hellaswag")
    assert task.config is None
    assert task.expected is None


def test_the_shipped_tasks_are_read() -> None:
    folder = REPOSITORY / "eval" / "evalchemy"
    tasks = load_tasks(load_config(folder / "configs" / "eval_config.json"), folder / "tasks", limit=None, api="chat")
    # A fork enables lm_eval's own, too.
    for task in [each for each in tasks if each.config is not None]:
        (file,) = task.data_files["test"]
        assert task.expected == len(file.read_text(encoding="utf-8").splitlines())
        json.loads(file.read_text(encoding="utf-8").splitlines()[0])
