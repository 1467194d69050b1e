"""What a run's page shows of each task, worked out from the store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vllm_eval.baseline import compared_with
from vllm_eval.leaves import LeafRow, leaf_rows, named
from vllm_eval.pages import charts, items
from vllm_eval.pages.words import Words
from vllm_eval.records import RunResult, TaskResult, rfc3339
from vllm_eval.report import interval_of
from vllm_eval.results import ResultStore
from vllm_eval.stats import Interval

# A sign and a word for each verdict: colour alone tells nothing to one man in twelve.
SIGNS = {"worse": "▼", "better": "▲", "same": "=", "inconclusive": "?", "no_baseline": "○", "failed": "✕"}


@dataclass(frozen=True)
class TaskView:
    """One task of a run, ready to be shown.

    ``other`` is the run beside which its items are shown, None if there is
    none. ``packed`` is None where no single answers are stored. ``speech`` tells
    what was counted of the answers beside their score. ``leaves`` are a group's
    tasks, each with the drawing of its score; ``fell`` names those that its drop
    comes from.
    """

    name: str
    result: TaskResult
    verdict: str
    sentence: str
    reason: str
    interval: Interval | None
    bar: str
    history: str
    marks: tuple[tuple[str, str], ...]
    counts: items.Counts | None
    packed: str | None
    other: RunResult | None
    baseline_runs: int
    speech: str
    fell: str = ""
    leaves: tuple[tuple[LeafRow, str], ...] = ()

    @property
    def sign(self) -> str:
        """The verdict's sign."""
        return SIGNS[self.verdict]


def task_view(
    store: ResultStore,
    runs: Sequence[RunResult],
    run: RunResult,
    result: TaskResult,
    against: RunResult | None,
    *,
    t: Words,
) -> TaskView:
    """Build the view of one task.

    Parameters
    ----------
    runs
        The model's ended runs by start.
    against
        The run beside which items are shown; None: the first of the baseline.
    t
        The language of our own words.
    """
    found = result.comparison
    baseline = compared_with(runs, run, result)
    other = against if against is not None else (baseline[0] if baseline else None)
    samples = store.samples(run, result.task)
    others = store.samples(other, result.task) if other is not None else None
    values = [each for item in baseline if (each := store.item_values(item, result.task)) is not None]
    table, counts = items.rows(samples, others, values, t) if samples is not None else (None, None)
    points = _points(runs, run, result.task, t)
    mean = found.baseline_mean if found is not None else None
    interval = interval_of(result)
    return TaskView(
        name=result.task,
        result=result,
        verdict="failed" if not result.good else found.verdict if found is not None else "no_baseline",
        sentence=_sentence(result, t),
        reason=found.reason_in(t) if found is not None else "",
        interval=interval,
        bar=charts.interval_bar(result.score, interval, mean),
        history=charts.history(points, mean, t("history of {task}, {count} runs", task=result.task, count=len(points)))
        if points
        else "",
        marks=tuple(charts.marks_of(points).items()),
        counts=counts,
        packed=items.packed(table) if table is not None else None,
        other=other if others is not None else None,
        baseline_runs=len(values),
        speech=", ".join(_speech(result, t)),
        fell=named(result),
        leaves=tuple((row, _leaf_bar(row)) for row in leaf_rows(run, result)),
    )


def _leaf_bar(row: LeafRow) -> str:
    before = row.change.baseline_mean if row.change is not None else None
    if row.result is None:
        return charts.interval_bar(None, None, before)
    return charts.interval_bar(row.result.score, interval_of(row.result), before)


def _sentence(result: TaskResult, t: Words) -> str:
    if not result.good:
        why = "; ".join(result.problems) or t("it did not end")
        return t("{task} has no score: {why}", task=result.task, why=why)
    found = result.comparison
    verdict = found.verdict if found is not None else "no_baseline"
    mean = found.baseline_mean if found is not None else None
    sentences = {
        "worse": t("{task} became worse: {score} against {mean} of the baseline"),
        "better": t("{task} became better: {score} against {mean} of the baseline"),
        "same": t("{task} shows no sign of a drop: {score} against {mean} of the baseline"),
        "inconclusive": t("{task} cannot be told from chance: {score} against {mean} of the baseline"),
        "no_baseline": t("{task} has {score}, and nothing to compare it with"),
    }
    return sentences[verdict].format(
        task=result.task,
        score=f"{result.score:.3f}" if result.score is not None else t("no score"),
        mean=f"{mean:.3f}" if mean is not None else t("none"),
    )


def _points(runs: Sequence[RunResult], run: RunResult, task: str, t: Words) -> list[charts.Point]:
    points = []
    for item in runs:
        result = item.tasks.get(task)
        if result is None or result.score is None:
            continue
        interval = interval_of(result)
        low, high = (f"{interval.low:.3f}", f"{interval.high:.3f}") if interval is not None else ("", "")
        spread = t(", 95 % interval {low} to {high}", low=low, high=high) if interval is not None else ""
        when = rfc3339(item.started)
        points.append(
            charts.Point(
                when=when[5:10],
                tag=item.model["tag"],
                score=result.score,
                interval=interval,
                title=f"{when}  {item.model['tag']}: {result.score:.3f}{spread}, {t('run')} {item.run_id}",
                chosen=item.run_id == run.run_id,
            )
        )
    return points


def _speech(result: TaskResult, t: Words) -> Iterator[str]:
    thoughts, speed = result.thoughts, result.speed
    if result.repeats > 1:
        yield t("each item asked {count} times", count=result.repeats)
    if thoughts is not None:
        yield t("{count} of {all} answers after a thought", count=thoughts.answers, all=result.answers)
        if thoughts.tokens and thoughts.answers:
            yield t("{count} tokens a thought", count=f"{thoughts.tokens / thoughts.answers:.0f}")
        yield t("{count} never stopped thinking", count=thoughts.unfinished)
    if speed is None:
        return
    if speed.tokens is not None:
        yield t("{count} tokens an answer", count=f"{speed.tokens:.0f}")
    times = (
        (t("a request"), speed.request),
        (t("the first token"), speed.first_token),
        (t("each further"), speed.between_tokens),
    )
    for what, found in times:
        if found is not None:
            yield t("{what} {p50} s, one of 100 {p99} s", what=what, p50=f"{found.p50:.3g}", p99=f"{found.p99:.3g}")
