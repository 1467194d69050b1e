"""The page of a run: what is in it, and that no text of a model becomes markup."""

import base64
import gzip
import json
import logging
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.report_page import Page
from tests.support.report_runs import MODEL, STACK, history, result_of, samples, save_run
from vllm_eval.cli import main
from vllm_eval.pages.items import packed
from vllm_eval.pages.run_page import render_run
from vllm_eval.pages.write import KEPT_PAGES, write_pages
from vllm_eval.records import RunResult, Sample
from vllm_eval.results import ResultStore
from vllm_eval.storage import LocalStorage

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"
    "\u202e\u0000\u001b[31m &lt; {{ 7 * 7 }} {% raw %} ]]> <!-- '\"`"
)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(LocalStorage(tmp_path))


def rendered(store: ResultStore, run: RunResult, against: RunResult | None = None) -> Page:
    return Page(render_run(store, store.runs(run.stack, run.model["name"]), run, against))


def test_a_drop_is_told_in_a_sentence_with_both_scores(tmp_path: Path, store: ResultStore) -> None:
    run = history(tmp_path, items=200)
    score, mean = run.tasks["custom_task_1"].score, run.tasks["custom_task_1"].comparison
    assert mean is not None
    assert f"custom_task_1 became worse: {score:.3f} against {mean.baseline_mean:.3f}" in rendered(store, run).text


def test_items_that_flipped_stand_beside_the_baselines_answer(tmp_path: Path, store: ResultStore) -> None:
    run = history(tmp_path, items=200)
    before = {item.item: item for item in store.samples(store.runs(STACK, MODEL)[0], "custom_task_1") or []}
    rows = rendered(store, run).rows("custom_task_1")
    assert len(rows) == 200
    for item, value, _, target, answer, _, _, other_value, other_answer, *_ in rows:
        assert other_answer == before[item].answer
        assert other_value == before[item].value
        assert (value == 1.0) == (answer is not None and answer.endswith(f" {target}."))
    assert sum(row[7] > row[1] for row in rows) > 10


def test_any_run_can_stand_beside_it_instead(tmp_path: Path, store: ResultStore) -> None:
    run = history(tmp_path, items=50)
    yesterday = store.runs(STACK, MODEL)[-2]
    expected = [item.answer for item in store.samples(yesterday, "custom_task_1") or []]
    assert [row[8] for row in rendered(store, run, yesterday).rows("custom_task_1")] == expected


def test_each_item_tells_how_many_baseline_runs_had_it_right(tmp_path: Path, store: ResultStore) -> None:
    run = history(tmp_path, items=50, days=6)
    runs = [store.item_values(each, "custom_task_1") for each in store.runs(STACK, MODEL)[:2]]  # of the tag v1
    right = dict.fromkeys(runs[0].items, 0) if runs[0] else {}
    for values in runs:
        assert values is not None
        for item, value in zip(values.items, values.values, strict=True):
            right[item] += value == 1.0
    assert {row[0]: row[11] for row in rendered(store, run).rows("custom_task_1")} == right


def test_no_text_of_a_model_becomes_markup(store: ResultStore) -> None:
    answers = [
        Sample(item=HOSTILE, doc_id=0, value=0.0, prompt=HOSTILE, target=HOSTILE, answer=HOSTILE, judged=HOSTILE)
    ]
    run = save_run(store, "run<b>", 0, HOSTILE, {"task</script>": answers})
    tasks = {name: task.model_copy(update={"good": False, "problems": (HOSTILE,)}) for name, task in run.tasks.items()}
    run = run.model_copy(update={"failure": f"{HOSTILE}\ud800", "tasks": tasks, "served": (HOSTILE,)})
    page = rendered(store, run)
    assert page.tags.count("script") == 3
    assert "img" not in page.tags
    assert "b" not in page.tags
    assert [row[4] for row in page.rows("task</script>")] == [HOSTILE]


def test_half_a_character_arrives_as_it_is() -> None:
    assert json.loads(gzip.decompress(base64.b64decode(packed([["a", "\ud800"]])))) == [["a", "\ud800"]]


def test_the_policy_names_the_pages_own_script_and_style_and_nothing_else(tmp_path: Path, store: ResultStore) -> None:
    text = render_run(store, [], history(tmp_path, items=10, days=1)).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert "unsafe" not in policy[1]
    assert "http" not in re.sub(r"&#\d+;", "", policy[1])
    assert not re.search(r'(src|href)="(?!#|data:,)', text)


def test_a_very_long_answer_is_cut_and_that_is_said(store: ResultStore) -> None:
    long = samples(1, 1.0, 0)[0].model_copy(update={"answer": "x" * 1_000_000})
    page = rendered(store, save_run(store, "run", 0, "v1", {"task": [long]}))
    (row,) = page.rows("task")
    assert len(row[4]) < 250_000
    assert "1000000 characters in all" in row[4]


def test_a_run_without_answers_has_a_page(store: ResultStore) -> None:
    run = RunResult(run_id="r", stack=STACK, model={"name": MODEL, "tag": "v1"}, started=1.0, failure="no endpoint")
    assert "No task was evaluated: no endpoint" in rendered(store, run).text
    lost = result_of("lost", samples(3, 1.0, 0))
    assert "no single answers" in rendered(store, run.model_copy(update={"tasks": {"lost": lost}})).text


def test_the_index_leads_to_the_last_pages_and_old_pages_go(store: ResultStore, tmp_path: Path) -> None:
    for day in range(KEPT_PAGES + 2):
        write_pages(store, save_run(store, f"run {day}", day, "v1", {"task": samples(3, 1.0, day)}))
    index = (tmp_path / "index.html").read_text()
    links = re.findall(r'href="(runs/[^"#]*)"', index)
    assert len(links) == KEPT_PAGES
    assert all((tmp_path / unquote(link)).is_file() for link in links)
    assert len(list(tmp_path.rglob("report.html"))) == KEPT_PAGES


def test_a_run_of_before_has_a_line_and_no_dead_link(store: ResultStore, tmp_path: Path) -> None:
    save_run(store, "of an older version", 0, "v1", {"task": samples(3, 1.0, 0)})
    (tmp_path / f"pages/{STACK}").mkdir(parents=True)
    (tmp_path / f"pages/{STACK}/damaged.json").write_text('[{"run": ')
    write_pages(store, save_run(store, "new", 1, "v1", {"task": samples(3, 1.0, 0)}))
    index = (tmp_path / "index.html").read_text()
    assert len(re.findall(r'href="runs/[^"#]*"', index)) == 1
    assert index.count("<tr>") == 3  # with the head


def test_a_page_that_cannot_be_written_is_only_a_warning(
    store: ResultStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = save_run(store, "run", 0, "v1", {"task": samples(3, 1.0, 0)})
    (tmp_path / "index.html").mkdir()
    with caplog.at_level(logging.WARNING):
        write_pages(store, run)
    assert "the report could not be written" in caplog.text


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    history(tmp_path, items=10, days=2)
    options = ["report", "--out", str(tmp_path), "--stack", STACK]
    page = tmp_path / "page.html"
    assert main([*options, "--html", str(page), "--against", "nightly-01"]) == 0
    assert page.read_bytes().startswith(b"<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--against", "nightly-01"], "--against belongs to the page: add --html FILE"),
        (["--html", "no/such/folder/x.html"], "'no/such/folder/x.html' cannot be written: No such file or directory"),
        (["--html", "-", "--against", "nightly-77"], "there is no run 'nightly-77'"),
        (["--html", "-", "--run", "nightly-77"], "there is no run 'nightly-77'"),
        (
            ["--html", "-", "--task", "mmlu"],
            "run today has no task 'mmlu'; its tasks are: custom_task_1, custom_task_2",
        ),
        (["--html", "-", "--model", "other"], "there is no ended run of 'other'"),
        (["--html", "/"], "'/' cannot be written: Is a directory"),
    ],
)
def test_a_wrong_wish_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    history(tmp_path, items=10, days=2)
    assert main(["report", "--out", str(tmp_path), "--stack", STACK, *arguments]) == 2
    printed = capsys.readouterr()
    assert told in printed.err
    assert not printed.out
