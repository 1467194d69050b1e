"""The page of one run."""

import base64
import hashlib
import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from vllm_eval.pages.charts import mark
from vllm_eval.pages.view import SIGNS, TaskView, task_view
from vllm_eval.results import ResultStore, RunResult, rfc3339

_FOLDER = Path(__file__).parent
# The verdict that the head of the page tells: the first of these that any task has.
_GRAVITY = ("worse", "failed", "inconclusive", "no_baseline", "better", "same")


def render_run(
    store: ResultStore, runs: Sequence[RunResult], run: RunResult, against: RunResult | None = None
) -> bytes:
    """Return the page of ``run`` as one HTML file in UTF-8.

    Parameters
    ----------
    runs
        The model's ended runs by start: the history.
    against
        The run beside which the items are shown; None: each task's baseline.
    """
    views = [task_view(store, runs, run, task, against) for task in run.tasks.values()]
    head = next((verdict for verdict in _GRAVITY if any(view.verdict == verdict for view in views)), "failed")
    return page(
        "run.html",
        script="run.js",
        run=run,
        views=views,
        head=head,
        sign=SIGNS[head],
        headline=_headline(views, head, run),
        facts=_facts(run),
        meta=_data([_meta(view) for view in views]),
    )


def page(template: str, *, script: str | None = None, **values: object) -> bytes:
    """Fill a template, with its style and script inside and a policy that lets nothing else run or load."""
    environment = _environment()
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    code = (_FOLDER / script).read_text(encoding="utf-8") if script is not None else ""
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(code)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )
    text = environment.get_template(template).render(policy=policy, style=Markup(style), code=Markup(code), **values)  # noqa: S704 - our own files
    # A lone surrogate in a name or a message has no UTF-8.
    return text.encode("utf-8", "replace")


@cache
def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["time"] = rfc3339
    environment.filters["svg"] = Markup  # drawings of ours: ElementTree has escaped every text in them
    environment.filters["mark"] = lambda kind: Markup(ET.tostring(mark(kind), encoding="unicode"))  # noqa: S704
    return environment


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _data(value: object) -> Markup:
    """Return JSON that no HTML parser takes for markup."""
    text = json.dumps(value, ensure_ascii=True).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(text)  # noqa: S704 - it holds none of the characters that would need it


def _meta(view: TaskView) -> Mapping[str, object]:
    other = view.other
    counts = view.counts
    return {
        "name": view.name,
        "other": f"{other.model['tag']}, {rfc3339(other.started)}" if other is not None else None,
        "baselineRuns": view.baseline_runs,
        "counts": [counts.items, counts.wrong, counts.lost, counts.gained] if counts is not None else None,
    }


def _headline(views: Sequence[TaskView], head: str, run: RunResult) -> str:
    if not views:
        return f"No task was evaluated{': ' + run.failure if run.failure else ''}"
    alike = [view for view in views if view.verdict == head]
    if len(views) == 1 or (len(alike) == 1 and head in {"worse", "failed"}):
        return alike[0].sentence
    words = {
        "worse": "became worse", "failed": "have no score", "inconclusive": "cannot be told from chance",
        "no_baseline": "have nothing to be compared with", "better": "became better", "same": "show no sign of a drop",
    }  # fmt: skip
    named = f": {', '.join(view.name for view in alike[:5])}{' …' if len(alike) > 5 else ''}"
    return f"{len(alike)} of {len(views)} tasks {words[head]}{named if len(alike) < len(views) else ''}"


def _facts(run: RunResult) -> list[tuple[str, str]]:
    versions = sorted({task.engine_version for task in run.tasks.values() if task.engine_version})
    facts = [
        ("model", run.model["name"]),
        ("tag", run.model["tag"]),
        ("asked for", run.model.get("served_name", "")),
        ("answered as", ", ".join(run.served)),
        ("endpoint", run.model.get("endpoint", "")),
        ("API", run.model.get("api", "")),
        ("stack", run.stack),
        ("run", run.run_id),
        ("Job", run.job_name),
        ("commit", run.git_commit),
        ("engine", ", ".join(versions)),
        ("started", rfc3339(run.started)),
        ("ended", rfc3339(run.ended) if run.ended is not None else "not ended"),
        ("duration", f"{run.duration:.0f} s" if run.duration is not None else ""),
        ("speed", f"{run.requests_per_second:.2f} requests/s" if run.requests_per_second is not None else ""),
        ("tokens", f"{run.output_tokens_per_second:.0f} a second" if run.output_tokens_per_second is not None else ""),
        ("requests", f"{run.asked} asked, {run.taken_over} taken over, {run.retries} retries"),
        ("failure", run.failure or ""),
    ]
    shown = {"name", "tag", "served_name", "endpoint", "api"}
    # What a later version adds to a model's identity is a setting of the run.
    facts += sorted((key, value) for key, value in run.model.items() if key not in shown)
    return [(name, value) for name, value in facts if value]
