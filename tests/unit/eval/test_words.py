"""The pages' words in English and Korean: each text in both, with the same values."""

import ast
import re
import string
from pathlib import Path

import pytest

from tests.support.report_runs import history, samples, save_run
from vllm_eval import pages
from vllm_eval.cli import main
from vllm_eval.pages.run_page import render_run
from vllm_eval.pages.view import SIGNS
from vllm_eval.pages.words import KOREAN, Words
from vllm_eval.pages.write import write_pages
from vllm_eval.results import ResultStore
from vllm_eval.storage import LocalStorage

FOLDER = Path(pages.__file__).parent
HANGUL = re.compile(r"[가-힣]")


def used() -> set[str]:
    """Every text that a page may show: what is given to `t` in Python, templates and script."""
    found = {sign.replace("_", " ") for sign in SIGNS}
    for file in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "t":
                text = node.args[0]
                assert isinstance(text, ast.Constant), f"{file.name}:{node.lineno}: a text that no program can find"
                found.add(str(text.value))
    for file in (*FOLDER.glob("*.html"), *FOLDER.glob("*.js")):
        found |= set(re.findall(r'\bt\(\s*"((?:[^"\\]|\\.)*)"', file.read_text()))
    return found


def test_each_text_is_there_in_korean_and_none_is_left_over() -> None:
    assert used() == set(KOREAN)


@pytest.mark.parametrize(("english", "korean"), KOREAN.items())
def test_both_languages_have_the_same_values(english: str, korean: str) -> None:
    fields = [sorted(name for _, name, *_ in string.Formatter().parse(each) if name) for each in (english, korean)]
    assert fields[0] == fields[1]
    assert HANGUL.search(korean)


def shown(content: str) -> str:
    """Return what a person reads of a page: no style, no script, no tag."""
    bare = re.sub(r"<(style|script)\b.*?</\1>|<!--.*?-->", " ", content, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", bare))


def test_a_korean_page_has_no_english_but_names_and_reasons(tmp_path: Path) -> None:
    run = history(tmp_path, items=300)
    store = ResultStore(LocalStorage(tmp_path))
    content = render_run(store, store.runs(run.stack, run.model["name"]), run, t=Words("ko")).decode()
    assert '<html lang="ko">' in content
    text = shown(content)
    assert "custom_task_1 점수가 나빠졌습니다" in text
    for task in run.tasks.values():
        assert task.comparison is not None
        text = text.replace(f"{task.comparison.reason}.", "")
    left = set(re.findall(r"[A-Za-z_]{3,}", text))
    assert left <= {
        "vllm", "eval", "org", "small", "model", "custom_task_", "local", "today", "evalchemy", "nightly", "http",
        "serving", "svc", "completions", "API", "Job", "lm_eval", "exact_match", "strip", "hash", "of", "JavaScript",
        "be",  # of the commit
    }, left  # fmt: skip


def test_an_english_page_has_no_korean(tmp_path: Path) -> None:
    run = history(tmp_path, items=10, days=2)
    store = ResultStore(LocalStorage(tmp_path))
    assert not HANGUL.search(render_run(store, store.runs(run.stack, run.model["name"]), run).decode())


def test_the_index_follows_the_language(tmp_path: Path) -> None:
    store = ResultStore(LocalStorage(tmp_path))
    write_pages(store, save_run(store, "run", 0, "v1", {"task": samples(3, 1.0, 0)}), Words("ko"))
    index = (tmp_path / "index.html").read_text()
    assert "기준선 없음" in index
    assert '<html lang="ko">' in index


def test_the_command_takes_the_language_from_its_option_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    history(tmp_path, items=10, days=2)
    options = ["report", "--out", str(tmp_path), "--stack", "local", "--html", str(tmp_path / "page.html")]
    assert main([*options, "--language", "ko"]) == 0
    assert "실행 정보" in (tmp_path / "page.html").read_text()
    monkeypatch.setenv("VLLM_EVAL_LANGUAGE", "ko")
    assert main(options) == 0
    assert "실행 정보" in (tmp_path / "page.html").read_text()
    monkeypatch.setenv("VLLM_EVAL_LANGUAGE", "korean")
    assert main(options) == 2
    assert 'VLLM_EVAL_LANGUAGE: must be one of en, ko (got "korean")' in capsys.readouterr().err
