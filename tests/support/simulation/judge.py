"""The runner's verdicts for made-up histories: its own comparison with the baseline, run after run."""

from dataclasses import replace

from tests.support.simulation.histories import Day, Task
from vllm_eval.compare import BASELINE_RUNS, TaskScore, compare, pinned_baseline


def judge(task: Task, *, series: int) -> Task:
    """Add baseline and verdict to every day, as the runner publishes them.

    The baseline is the first run and those of its tag that follow, until it is
    complete; a run is no part of its own. The last decisive verdict stays until
    the next decisive one.

    Parameters
    ----------
    series
        How many series the stack watches; the level of a comparison allows for it.
    """
    members: list[TaskScore] = []
    pinned: tuple[TaskScore, ...] = ()
    held: str | None = None
    judged: list[Day] = []
    for number, day in enumerate(task.days):
        if number and day is task.days[number - 1]:
            judged.append(judged[-1])
            continue
        score = _score(task, day)
        outcome = compare(score, pinned, series=series)
        held = outcome.verdict if outcome.decisive else held
        judged.append(replace(day, verdict=held or outcome.verdict, baseline=outcome.baseline_mean))
        if day.tag == task.days[0].tag and len(members) < BASELINE_RUNS:
            members.append(score)
            pinned = pinned_baseline(members)
    task.days[:] = judged
    return task


def _score(task: Task, day: Day) -> TaskScore:
    return TaskScore(
        task_hash="h",
        engine_version="e",
        correct={str(item): bool(day.right >> item & 1) for item in range(task.items)},
        n=task.items,
        mean=task.score(day),
    )
