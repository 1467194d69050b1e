"""Scores, comparisons and wrong answers as tables that a person reads."""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import isclose, sqrt

from vllm_eval.catalog import DEFAULT_METRIC, Refusal
from vllm_eval.data.bundle import Manifest
from vllm_eval.leaves import leaf_rows, named
from vllm_eval.records import RunResult, Sample, TaskResult, rfc3339
from vllm_eval.stats import Interval, share_interval, wilson_interval

CELL = 40


def summary(run: RunResult) -> str:
    """Return the table of one run, one line a task."""
    rows = [("task", "exact_match", "95 % interval", "samples", "verdict", "")]
    for name, task in run.tasks.items():
        verdict = task.comparison.verdict if task.comparison else "-"
        note = _fell(task) if task.good else "FAILED: " + "; ".join(task.problems)
        counts = f"{task.samples}/{_known(task.expected)}" + (f" x {task.repeats}" if task.repeats > 1 else "")
        rows.append((_named(name, task), _score(task), _interval(task), counts, verdict, _line(note, 200)))
    when = rfc3339(run.ended) if run.ended is not None else "unfinished"
    return f"\n{run.model['name']} {run.model['tag']} (run {run.run_id}, {when})\n{_table(rows)}"


def _named(name: str, task: TaskResult) -> str:
    return name if task.metric == DEFAULT_METRIC else f"{name} ({task.metric})"


def comparison(run: RunResult) -> str:
    """Return the table of one run's comparisons."""
    rows = [("task", "exact_match", "baseline", "p", "verdict", "")]
    for name, task in run.tasks.items():
        if task.comparison is None:
            rows.append((name, _score(task), "-", "-", "-", "no score"))
            continue
        found = task.comparison
        mean = f"{found.baseline_mean:.3f}" if found.baseline_mean is not None else "-"
        p_value = f"{found.p_value:.2g}" if found.p_value is not None else "-"
        against = f" (baseline from run {found.baseline_run})" if found.baseline_run else ""
        fell = f"; {text}" if (text := _fell(task)) else ""
        rows.append((name, _score(task), mean, p_value, found.verdict, found.reason + against + fell))
    return f"\n{run.model['name']} {run.model['tag']} (run {run.run_id})\n{_table(rows)}"


def leaves(run: RunResult, task: TaskResult) -> str:
    """Return the table of a group's tasks, those that lost most first; empty for a task."""
    if not task.leaves:
        return ""
    rows = [(f"tasks of {task.task}", "score", "baseline", "change", "p", "samples", "")]
    for row in leaf_rows(run, task):
        before = f"{row.change.baseline_mean:.3f}" if row.change else "-"
        moved = f"{row.moved:+.3f}" if row.moved is not None else "-"
        p_value = f"{row.change.p_value:.2g}" if row.change and row.change.p_value is not None else "-"
        result = row.result
        note = "" if result and result.good else "FAILED: " + "; ".join(result.problems if result else ())
        score, count = (_score(result), str(result.samples)) if result else ("-", "0")
        rows.append((row.name, score, before, moved, p_value, count, _line(note, 200)))
    return f"\n{_table(rows)}"


def _fell(task: TaskResult) -> str:
    text = named(task)
    return f"fell most: {text}" if text else ""


def wrong_answers(task: str, samples: Sequence[Sample] | None, before: Sequence[Sample] | None, limit: int) -> str:
    """Return the first wrong answers of a task, in item order, but those first that became wrong since ``before``.

    ``before`` are the answers of the baseline's first run, None where there is none.
    """
    if samples is None:
        return f"\n{task}: no single answers are stored\n"
    earlier = {(sample.item, sample.repeat): sample for sample in before or ()}

    def steady(sample: Sample) -> bool:
        was = earlier.get((sample.item, sample.repeat))
        return was is None or was.value <= sample.value

    wrong = sorted((sample for sample in samples if sample.value < 1.0), key=steady)
    told = f"\n{task}: {len(wrong)} of {len(samples)} answers are wrong"
    if earlier:
        told += f", {sum(not steady(sample) for sample in wrong)} became wrong"
    if not wrong or limit < 1:
        return f"{told}\n"
    rows: list[tuple[str, ...]] = [("item", "wanted", "judged", "before", "answer", "question")]
    for sample in wrong[:limit]:
        answer = "(null)" if sample.answer is None else sample.answer
        if sample.finish_reason == "length":
            answer += " [cut]"
        was = earlier.get((sample.item, sample.repeat))
        judged = was.judged if was is not None else "-"
        cells = (sample.item, sample.target, sample.judged, judged, answer, sample.prompt[-2 * CELL :])
        rows.append(tuple(_line(cell, CELL) for cell in cells))
    more = f"... and {len(wrong) - limit} more\n" if len(wrong) > limit else ""
    return f"{told}\n{_table(rows)}{more}"


def refusals(found: Iterable[Refusal | None]) -> str:
    """Return the table of how many tasks run here, and of the others by their reasons."""
    counts = Counter("runs" if refusal is None else str(refusal.reason) for refusal in found)
    total = sum(counts.values())
    rows = [("tasks", "share", "")]
    rows += [(str(count), f"{count / total:.1%}", reason) for reason, count in counts.most_common()]
    return f"\n{total} tasks\n{_table(rows)}"


def bundle(manifest: Manifest, place: str, size: int) -> str:
    """Return the table of a bundle's data sets, and what may be done with it."""
    rows: list[tuple[str, ...]] = [("tasks", "items", "commit", "licence", "gated", "data set")]
    sets: dict[tuple[str, ...], list[str]] = {}
    for name, task in manifest.tasks.items():
        key = (task.commit[:12] or "-", task.licence or "not said", task.gated, task.repository or "of no hub")
        sets.setdefault(key, []).append(name)
    for told_of, names in sets.items():
        items = sum(manifest.files[manifest.tasks[name].items].items for name in names)
        rows.append((str(len(names)), str(items), *told_of))
    gated = sorted({task.repository for task in manifest.tasks.values() if task.gated != "no"})
    terms = (
        f"; {', '.join(gated)} {'is' if len(gated) == 1 else 'are'} gated, and may not be passed on" if gated else ""
    )
    told = f"{place}: {size / 1e6:.1f} MB. Keep it private: the data sets' own licences hold for it{terms}.\n"
    return f"\n{_table(rows)}{told}"


def _score(task: TaskResult) -> str:
    if task.score is None:
        return "-"
    return f"{task.score:.3f}" + (f" ± {task.stderr:.3f}" if task.stderr is not None else "")


def _interval(task: TaskResult) -> str:
    interval = interval_of(task)
    return f"{interval.low:.3f} .. {interval.high:.3f}" if interval is not None else "-"


def interval_of(task: TaskResult) -> Interval | None:
    """Return Wilson's 95 % interval where the score is a share of independent items that are right or wrong, else None.

    Elsewhere its width would be wrong: parts of a right answer, items that share a passage or are asked several times.
    A group's is that of as many items as its standard error is worth.
    """
    if task.score is None or task.samples < 2 or task.repeats > 1:
        return None
    if task.leaves:
        return _group_interval(task.score, task.stderr, task.samples)
    right = round(task.score * task.samples)
    if not isclose(right / task.samples, task.score, abs_tol=1e-9):
        return None
    binomial = sqrt(task.score * (1 - task.score) / (task.samples - 1))
    if task.stderr is not None and not isclose(task.stderr, binomial, rel_tol=1e-6, abs_tol=1e-9):
        return None
    return wilson_interval(right, task.samples)


def _group_interval(score: float, stderr: float | None, samples: int) -> Interval | None:
    """Return Wilson's interval with the number of independent items that would have a group's standard error."""
    if stderr is None:
        return None
    return share_interval(score, score * (1 - score) / stderr**2 if stderr > 0 else samples)


def _known(value: int | None) -> str:
    return "?" if value is None else str(value)


def _line(text: str, width: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else f"{flat[: width - 1]}…"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, [*widths, 0], strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)
