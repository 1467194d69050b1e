"""Kind: the task hash changes with everything that can change a score, and with nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.workspace import write_task
from vllm_eval.config import TaskSettings
from vllm_eval.tasks import load_tasks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A task whose YAML includes one of another folder, with functions, modules and word lists of their own."""
    write_task(tmp_path, prompt="question", more="include: ../common/base.yaml\nprocess_docs: !function own.prepare\n")
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "base.yaml").write_text("process_results: !function judge.score\n")
    (tmp_path / "common" / "judge.py").write_text("from helper import same\nWORDS = 'words.txt'\n")
    (tmp_path / "common" / "helper.py").write_text("same = 1\n")
    (tmp_path / "common" / "words.txt").write_text("a\n")
    (tmp_path / "tasks" / "own.py").write_text("import deep.inner\n")
    (tmp_path / "tasks" / "deep").mkdir()
    (tmp_path / "tasks" / "deep" / "inner.py").write_text("x = 1\n")
    (tmp_path / "tasks" / "stranger.py").write_text("x = 1\n")
    (tmp_path / "data" / "t.jsonl").write_text('{"question": "q"}')
    return tmp_path


def hash_of(folder: Path) -> str:
    """Return the hash of task ``t``."""
    return load_tasks({"t": TaskSettings(enabled=True)}, folder / "tasks", limit=None, api="completions")[0].hash


@pytest.mark.parametrize(
    "name",
    ["common/base.yaml", "common/judge.py", "common/helper.py", "common/words.txt", "tasks/own.py",
     "tasks/deep/inner.py", "data/t.jsonl"],
)  # fmt: skip
def test_a_change_of_what_the_task_rests_on_makes_another_task(folder: Path, name: str) -> None:
    before = hash_of(folder)
    path = folder / name
    more = {".py": "# changed\n", ".yaml": "description: changed\n", ".txt": "b\n", ".jsonl": '\n{"question": "r"}'}
    path.write_text(path.read_text() + more[path.suffix])
    assert hash_of(folder) != before


def test_a_file_that_nobody_names_changes_nothing(folder: Path) -> None:
    before = hash_of(folder)
    (folder / "tasks" / "stranger.py").write_text("x = 2\n")
    (folder / "data" / "other.jsonl").write_text("{}")
    assert hash_of(folder) == before


def rewrite(path: Path) -> None:
    path.write_text('{"question": "another"}')


def add(path: Path) -> None:
    (path.parent / "test-2.jsonl").write_text('{"question": "more"}')


def rename(path: Path) -> None:
    path.rename(path.parent / "test-b.jsonl")


@pytest.mark.parametrize("change", [rewrite, add, rename])
@pytest.mark.parametrize("relative", [False, True])
def test_the_data_of_a_folder_is_part_of_the_hash(
    tmp_path: Path, change: Callable[[Path], None], relative: bool
) -> None:
    (tmp_path / "set").mkdir()
    file = tmp_path / "set" / "test-1.jsonl"
    file.write_text('{"question": "q"}')
    write_task(tmp_path, path="../set" if relative else str(tmp_path / "set"), files=None, prompt="question")
    before = hash_of(tmp_path)
    change(file)
    assert hash_of(tmp_path) != before


def test_the_folder_of_a_loader_of_ones_own_is_part_of_the_hash(tmp_path: Path) -> None:
    write_task(tmp_path, path="../data", files=None, prompt="question", more="custom_dataset: !function own.load\n")
    (tmp_path / "tasks" / "own.py").write_text("def load(**_): ...\n")
    (tmp_path / "data" / "t.bin").write_bytes(b"1")
    before = hash_of(tmp_path)
    (tmp_path / "data" / "t.bin").write_bytes(b"2")
    assert hash_of(tmp_path) != before
