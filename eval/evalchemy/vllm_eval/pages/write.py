"""Pages written beside the results: one for each run, and an index of all models and runs."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any
from urllib.parse import quote

from vllm_eval.pages.run_page import page, render_run
from vllm_eval.pages.view import SIGNS
from vllm_eval.pages.words import ENGLISH, Words
from vllm_eval.publish import ended_runs
from vllm_eval.records import RunResult
from vllm_eval.results import ResultStore
from vllm_eval.storage import Storage

log = logging.getLogger(__name__)

# A page is as large as its run's answers twice; an older run's can be made again from them.
KEPT_PAGES = 20
INDEX = "index.html"
PAGE = "report.html"


def write_pages(store: ResultStore, run: RunResult, t: Words = ENGLISH) -> None:
    """Write the run's page and the index; whatever goes wrong is a warning, since the run has its scores."""
    try:
        model = run.model["name"]
        runs = ended_runs(store.runs(run.stack, model))
        current = next((item for item in runs if item.run_id == run.run_id), run)
        path = page_path(store, run)
        store.storage.write(path, render_run(store, runs, current, t=t))
        for old in runs[-KEPT_PAGES - 1 : -KEPT_PAGES]:
            store.storage.delete(page_path(store, old))
        _write_lines(store, runs, run.run_id)
        write_index(store.storage, t)
    except Exception as error:  # noqa: BLE001 - a page must never cost a run its scores
        log.warning("the report could not be written: %s: %s", type(error).__name__, error)
    else:
        log.info("the report is %s", path)


def page_path(store: ResultStore, run: RunResult) -> str:
    """Return where the page of a run lies in the results folder."""
    return f"{store.folder(run)}/{PAGE}"


def write_index(storage: Storage, t: Words = ENGLISH) -> None:
    """Write the index of all models that have lines."""
    models = [entry for each in storage.list("pages") for entry in _models(storage, each)]
    stacks = [(name, list(group)) for name, group in groupby(models, key=itemgetter("stack"))]
    storage.write(INDEX, page("index.html", t, stacks=stacks, signs=SIGNS))


def _write_lines(store: ResultStore, runs: Sequence[RunResult], new: str) -> None:
    """Write what the index shows of the model; a run of an older version has no page to link to."""
    stack, model = runs[-1].stack, runs[-1].model["name"]
    path = f"pages/{quote(stack, safe='')}/{quote(model, safe='')}.json"
    with_page = {new, *(str(line["run"]) for line in lines_of(store.storage.read(path)) if line["page"])}
    kept = {run.run_id for run in runs[-KEPT_PAGES:]} & with_page
    lines = [_line(store, run, linked=run.run_id in kept) for run in reversed(runs)]
    store.storage.write(path, json.dumps(lines).encode())


def _models(storage: Storage, folder: str) -> Iterator[Mapping[str, object]]:
    paths = [f"pages/{folder}/{name}" for name in storage.list(f"pages/{folder}")]
    for content in storage.read_many(paths).values():
        if lines := lines_of(content):
            yield {"stack": lines[0]["stack"], "model": lines[0]["model"], "runs": lines}


def lines_of(content: bytes | None) -> list[dict[str, Any]]:
    """Read what the index shows of a model; a damaged file is as none until the model's next run."""
    try:
        found = json.loads(content or b"[]")
        return [line for line in found if {"stack", "model", "run", "page", "tasks", "started"} <= line.keys()]
    except (ValueError, TypeError, AttributeError):
        return []


def _line(store: ResultStore, run: RunResult, *, linked: bool) -> dict[str, object]:
    tasks = []
    for name, task in run.tasks.items():
        verdict = task.comparison.verdict if task.good and task.comparison else "no_baseline" if task.good else "failed"
        tasks.append({"name": name, "score": task.score, "verdict": verdict})
    return {
        "stack": run.stack, "model": run.model["name"], "tag": run.model["tag"], "run": run.run_id,
        "started": run.started, "commit": run.git_commit[:12], "tasks": tasks,
        # The folder's name is percent-encoded, so a link to it is encoded once more.
        "page": quote(page_path(store, run)) if linked else None,
    }  # fmt: skip
