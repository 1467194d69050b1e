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
from vllm_eval.pages.words import ENGLISH, Words
from vllm_eval.records import RunResult, rfc3339
from vllm_eval.results import ResultStore

_FOLDER = Path(__file__).parent
# The verdict that the head of the page tells: the first of these that any task has.
_GRAVITY = ("worse", "failed", "inconclusive", "no_baseline", "better", "same")


def render_run(
    store: ResultStore,
    runs: Sequence[RunResult],
    run: RunResult,
    against: RunResult | None = None,
    t: Words = ENGLISH,
) -> bytes:
    """Return the page of ``run`` as one HTML file in UTF-8.

    Parameters
    ----------
    runs
        The model's ended runs by start: the history.
    against
        The run beside which the items are shown; None: each task's baseline.
    t
        The language of the page's own words.
    """
    views = [task_view(store, runs, run, task, against, t=t) for task in run.tasks.values()]
    head = next((verdict for verdict in _GRAVITY if any(view.verdict == verdict for view in views)), "failed")
    return page(
        "run.html",
        t,
        script="run.js",
        run=run,
        views=views,
        head=head,
        sign=SIGNS[head],
        headline=_headline(views, head, run, t),
        facts=_facts(run, t),
        meta=_data({"tasks": [_meta(view) for view in views], "words": t.of_script()}),
    )


def page(template: str, t: Words, *, script: str | None = None, **values: object) -> bytes:
    """Fill a template, with its style and script inside and a policy that lets nothing else run or load."""
    environment = _environment(t)
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
def _environment(t: Words) -> Environment:
    environment = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals["t"] = t
    environment.filters["time"] = rfc3339
    environment.filters["verdict"] = t.verdict
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


def _headline(views: Sequence[TaskView], head: str, run: RunResult, t: Words) -> str:
    if not views:
        return f"{t('No task was evaluated')}{': ' + run.failure if run.failure else ''}"
    alike = [view for view in views if view.verdict == head]
    if len(views) == 1 or (len(alike) == 1 and head in {"worse", "failed"}):
        return alike[0].sentence
    sentences = {
        "worse": t("{count} of {all} tasks became worse"),
        "failed": t("{count} of {all} tasks have no score"),
        "inconclusive": t("{count} of {all} tasks cannot be told from chance"),
        "no_baseline": t("{count} of {all} tasks have nothing to be compared with"),
        "better": t("{count} of {all} tasks became better"),
        "same": t("{count} of {all} tasks show no sign of a drop"),
    }
    named = f": {', '.join(view.name for view in alike[:5])}{' …' if len(alike) > 5 else ''}"
    told = sentences[head].format(count=len(alike), all=len(views))
    return f"{told}{named if len(alike) < len(views) else ''}"


def _facts(run: RunResult, t: Words) -> list[tuple[str, str]]:
    versions = sorted({task.engine_version for task in run.tasks.values() if task.engine_version})
    facts = [
        (t("model"), run.model["name"]),
        (t("tag"), run.model["tag"]),
        (t("asked for"), run.model.get("served_name", "")),
        (t("answered as"), ", ".join(run.served)),
        (t("endpoint"), run.model.get("endpoint", "")),
        ("API", run.model.get("api", "")),
        (t("stack"), run.stack),
        (t("run"), run.run_id),
        ("Job", run.job_name),
        (t("commit"), run.git_commit),
        (t("engine"), ", ".join(versions)),
        (t("started"), rfc3339(run.started)),
        (t("ended"), rfc3339(run.ended) if run.ended is not None else t("not ended")),
        (t("duration"), t("{count} s", count=f"{run.duration:.0f}") if run.duration is not None else ""),
        (
            t("speed"),
            t("{count} requests/s", count=f"{run.requests_per_second:.2f}")
            if run.requests_per_second is not None
            else "",
        ),
        (
            t("tokens"),
            t("{count} a second", count=f"{run.output_tokens_per_second:.0f}")
            if run.output_tokens_per_second is not None
            else "",
        ),
        (
            t("requests"),
            t(
                "{asked} asked, {kept} taken over, {retries} retries",
                asked=run.asked,
                kept=run.taken_over,
                retries=run.retries,
            ),
        ),
        (t("failure"), run.failure or ""),
    ]
    shown = {"name", "tag", "served_name", "endpoint", "api"}
    # What a later version adds to a model's identity is a setting of the run.
    facts += sorted((key, value) for key, value in run.model.items() if key not in shown)
    return [(name, value) for name, value in facts if value]
