"""Scores as a table that a person reads."""

from vllm_eval.results import RunResult


def summary(run: RunResult) -> str:
    """Return the table of one run, one line a task."""
    rows = [("task", "exact_match", "samples", "verdict", "")]
    for name, task in run.tasks.items():
        score = f"{task.score:.3f}" if task.score is not None else "-"
        if task.score is not None and task.stderr is not None:
            score += f" ± {task.stderr:.3f}"
        verdict = task.comparison.verdict if task.comparison else "-"
        note = "" if task.good else "FAILED: " + "; ".join(task.problems).splitlines()[0]
        rows.append(
            (name, score, f"{task.samples}/{task.expected if task.expected is not None else '?'}", verdict, note)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, [*widths, 0], strict=True)).rstrip() for row in rows
    ]
    return f"\n{run.model['name']} {run.model['tag']} (run {run.run_id})\n" + "\n".join(lines) + "\n"
