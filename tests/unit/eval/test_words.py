"""The pages' words in English and Korean: each text in both, with the same values."""

import ast
import re
import string
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from tests.support.report_runs import history, samples, save_run
from vllm_eval import pages
from vllm_eval.cli import main
from vllm_eval.pages.run_page import render_run
from vllm_eval.pages.view import SIGNS
from vllm_eval.pages.words import KOREAN, Words
from vllm_eval.pages.write import write_pages
from vllm_eval.reasons import SENTENCES, WHY, Facts
from vllm_eval.results import ResultStore
from vllm_eval.storage import LocalStorage

FOLDER = Path(pages.__file__).parent
HANGUL = re.compile(r"[가-힣]")


def used() -> set[str]:
    """Every text that a page may show: what is given to `t` in Python, templates and script, and the reasons."""
    found = {sign.replace("_", " ") for sign in SIGNS} | set(SENTENCES)
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
    fields = [sorted(field[1:3] for field in string.Formatter().parse(each) if field[1]) for each in (english, korean)]
    assert fields[0] == fields[1]
    assert HANGUL.search(korean)


def shown(content: str) -> str:
    """Return what a person reads of a page: no style, no script, no tag."""
    bare = re.sub(r"<(style|script)\b.*?</\1>|<!--.*?-->", " ", content, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", bare))


def test_a_korean_page_has_no_english_but_names(tmp_path: Path) -> None:
    run = history(tmp_path, items=300)
    store = ResultStore(LocalStorage(tmp_path))
    content = render_run(store, store.runs(run.stack, run.model["name"]), run, t=Words("ko")).decode()
    assert '<html lang="ko">' in content
    text = shown(content)
    assert "custom_task_1 점수가 나빠졌습니다" in text
    assert "우연으로 볼 수 없습니다" in text
    assert "하락의 징후가 없습니다" in text
    left = set(re.findall(r"[A-Za-z_]{3,}", text))
    assert left <= {
        "vllm", "eval", "org", "small", "model", "custom_task_", "local", "today", "evalchemy", "nightly", "http",
        "serving", "svc", "completions", "API", "Job", "lm_eval", "exact_match", "strip", "hash", "of", "JavaScript",
        "be",  # of the commit
    }, left  # fmt: skip


@pytest.mark.parametrize("facts", [None, Facts(code="of a newer version", values={"number": 1})])
def test_a_reason_of_another_version_is_told_as_its_record_has_it(tmp_path: Path, facts: Facts | None) -> None:
    run = history(tmp_path, items=20, days=2)
    task = run.tasks["custom_task_1"]
    assert task.comparison is not None
    old = task.model_copy(update={"comparison": task.comparison.model_copy(update={"facts": facts})})
    run = run.model_copy(update={"tasks": {old.task: old}})
    store = ResultStore(LocalStorage(tmp_path))
    page = render_run(store, store.runs(run.stack, run.model["name"]), run, t=Words("ko")).decode()
    assert f"{task.comparison.reason}." in shown(page)


FACTS = TypeAdapter(Facts)
# For each case the values that its sentence needs beside those of a test.
VALUES: dict[str, dict[str, Any]] = {
    "other_engine": {"engine": "lm_eval 0.4.13", "before": "lm_eval 0.4.12"},
    "data_changed": {"data": ("a 12 -> 34", "b 12 -> 34", "c 12 -> 34", "d 12 -> 34", "56 -> 78")},
    "leaf_means": {"score": 0.5, "mean": 0.75},
    "no_earlier_run": {},
    "other_task": {},
    "other_leaves": {},
}


@pytest.mark.parametrize("code", WHY)
@pytest.mark.parametrize(("runs", "answers"), [(1, 1), (10, 16)])
def test_each_reason_is_a_sentence_in_both_languages_and_survives_its_record(
    code: str, runs: int, answers: int
) -> None:
    facts = (
        Facts(code=code, values=VALUES[code])
        if code in VALUES
        else Facts.tested(code, score=0.5, mean=0.75, runs=runs, items=200, answers=answers, p_value=0.01, level=0.001)
    )
    kept = FACTS.validate_json(FACTS.dump_json(facts))
    english, korean = kept.sentence(), kept.sentence(Words("ko"))
    assert english == facts.sentence()
    assert not HANGUL.search(english)
    assert HANGUL.search(korean)
    numbers = [sorted(re.findall(r"[\d.]*\d", text)) for text in (english, korean)]
    assert numbers[0] == numbers[1], (english, korean)
    assert not re.search(r"[{}]", english + korean)


def test_a_reason_is_told_with_its_numbers_and_no_more_names_than_one_reads() -> None:
    many = Facts(code="data_changed", values=VALUES["data_changed"])
    assert many.sentence() == (
        "the data changed: a 12 -> 34, b 12 -> 34, c 12 -> 34 and 2 more; a new baseline begins with this run"
    )
    assert many.sentence(Words("ko")) == (
        "데이터가 바뀌었습니다: a 12 -> 34, b 12 -> 34, c 12 -> 34 외 2개. 이 실행부터 새 기준선이 시작됩니다"
    )
    drop = Facts.tested("dropped", score=0.61, mean=0.79, runs=10, items=500, answers=1, p_value=1e-6, level=1.4e-5)
    assert drop.sentence(Words("ko")) == (
        "0.61, 기준선 실행 10번의 평균은 0.79, 항목 500개, p = 1e-06, 유의 수준 1.4e-05: "
        "기준선보다 10 % 넘게 낮고, 우연으로 볼 수 없습니다"
    )


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
