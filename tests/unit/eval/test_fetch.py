"""`vllm-eval fetch`: the last runs of a store, in a folder where they can be read."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.report_runs import MODEL, STACK, samples, save_run
from vllm_eval.cli import main
from vllm_eval.pages.write import write_pages
from vllm_eval.results import ResultStore
from vllm_eval.storage import LocalStorage


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    """A claim with seven runs of one model and one of another."""
    folder = tmp_path / "claim"
    store = ResultStore(LocalStorage(folder))
    for day in range(7):
        write_pages(store, save_run(store, f"run {day}", day, "v1", {"task": samples(3, 1.0, day)}))
    write_pages(store, save_run(store, "other", 9, "v1", {"task": samples(3, 0.0, 0)}, model="org/other"))
    return folder


def fetched(claim: Path, target: Path, *options: str) -> int:
    return main(["fetch", "--out", str(claim), "--to", str(target), *options])


def links(folder: Path) -> list[str]:
    """The index's links to pages; each must lead to a file."""
    found = re.findall(r'href="(runs/[^"#]*)"', (folder / "index.html").read_text())
    assert [link for link in found if not (folder / unquote(link)).is_file()] == []
    return found


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_last_runs_come_with_an_index_that_leads_to_them(claim: Path, tmp_path: Path) -> None:
    assert fetched(claim, tmp_path / "here", "--last", "2") == 0
    assert len(links(tmp_path / "here")) == 3
    runs = f"runs/{STACK}/org%2Fsmall-model"
    assert {path for path in files(tmp_path / "here") if path.startswith(runs)} == {
        f"{runs}/run%20{day}/{name}" for day in (5, 6) for name in ("report.html", "result.json")
    }


def test_answers_come_when_asked_for_and_the_tables_can_be_read(
    claim: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetched(claim, tmp_path / "here", "--last", "1", "--model", MODEL, "--answers") == 0
    assert f"runs/{STACK}/org%2Fsmall-model/run%206/samples/task.jsonl.gz" in files(tmp_path / "here")
    assert main(["report", "--out", str(tmp_path / "here"), "--stack", STACK]) == 0
    assert "run 6" in capsys.readouterr().out


def test_a_second_time_only_what_is_new_is_copied_and_what_was_there_stays(claim: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    assert fetched(claim, here, "--model", MODEL, "--last", "2") == 0
    page = here / f"runs/{STACK}/org%2Fsmall-model/run%205/report.html"
    page.write_text("mine")
    store = ResultStore(LocalStorage(claim))
    write_pages(store, save_run(store, "run 7", 7, "v1", {"task": samples(3, 1.0, 7)}))
    assert fetched(claim, here, "--last", "1") == 0
    assert len(links(here)) == 4
    assert page.read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ["--stack", "prod"],
            "for --stack 'prod'; models with reports: org/other of stack local, org/small-model of stack local",
        ),
        (["--model", "nobody"], "no run with a report is there for --model 'nobody'"),
    ],
)
def test_a_wish_that_nothing_fits_names_what_is_there(
    claim: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    assert fetched(claim, tmp_path / "here", *options) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "here/index.html").exists()


def test_the_results_folder_itself_is_no_target(claim: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetched(claim, claim) == 2
    assert "is the results folder itself; name another one" in capsys.readouterr().err
