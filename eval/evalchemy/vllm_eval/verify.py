"""Whether a task's answers support a score. Every problem is reported, not the first."""

import math
from collections import Counter

from vllm_eval.engines.base import TaskOutcome
from vllm_eval.tasks import Task


def verify(task: Task, outcome: TaskOutcome) -> list[str]:
    """Check one task's outcome.

    Returns
    -------
    list of str
        What is wrong, for people; empty when the score may be published.
    """
    if outcome.problems:
        return list(outcome.problems)
    return [*_counts(task, outcome), *_score(task, outcome), *_samples(outcome), *_shares(task, outcome)]


def _counts(task: Task, outcome: TaskOutcome) -> list[str]:
    found = []
    expected = {value for value in (task.expected, outcome.expected) if value is not None}
    if len(expected) > 1:
        found.append(f"the task's files hold {task.expected} items, the engine counts {outcome.expected}")
    if not expected:
        found.append("nobody knows how many items there should be")
    found += [
        f"{outcome.answered} items were scored, {value} were expected"
        for value in expected
        if outcome.answered != value
    ]
    if outcome.answered == 0:
        found.append("no item was scored")
    return found


def _score(task: Task, outcome: TaskOutcome) -> list[str]:
    wanted = task.metric + (f",{task.settings.filter}" if task.settings.filter else "")
    if outcome.primary is None:
        present = ", ".join(f"{metric},{name}" for metric, name in outcome.metrics) or "none"
        return [f"the metric {wanted!r} is missing; the results have: {present}"]
    value = outcome.metrics.get(outcome.primary)
    if value is None or not math.isfinite(value) or not 0 <= value <= 1:
        return [f"the metric {wanted!r} is {value}, which is not in 0..1"]
    return []


def _samples(outcome: TaskOutcome) -> list[str]:
    if outcome.samples is None or outcome.primary is None:
        return []
    found = []
    if len(outcome.samples) != outcome.answered:
        found.append(f"{len(outcome.samples)} samples for {outcome.answered} scored items")
    twice = [item for item, count in Counter(sample.item for sample in outcome.samples).items() if count > 1]
    if twice:
        found.append(f"{len(twice)} items are scored more than once, the first is {twice[0]}")
    values = [sample.value for sample in outcome.samples]
    score = outcome.metrics.get(outcome.primary)
    if values and score is not None and all(value in {0.0, 1.0} for value in values):
        mean = sum(values) / len(values)
        if not math.isclose(mean, score, abs_tol=1e-9):
            found.append(f"the score is {score}, but the items' mean is {mean}")
    return found


def _shares(task: Task, outcome: TaskOutcome) -> list[str]:
    found = []
    if outcome.only_thoughts and outcome.empty > task.settings.max_empty_share * outcome.answers:
        found.append(
            f"{outcome.only_thoughts} of {outcome.answers} answers are thoughts and nothing else; if these are in the "
            "text (<think>), start the server with its --reasoning-parser; else take stops from `until` that a thought "
            "has, too (such as a line break), raise the token limit, or turn thinking off (chat_template_kwargs)"
        )
    for what, count, most, key in (
        ("without text", outcome.empty, task.settings.max_empty_share, "max_empty_share"),
        ("cut by the token limit", outcome.truncated, task.settings.max_truncated_share, "max_truncated_share"),
    ):
        if count > most * outcome.answers:
            found.append(
                f"{count} of {outcome.answers} answers are {what}, more than {key} {most:g} allows; "
                "look at them with `vllm-eval report`, then mend the prompt, the token limit or the bound"
            )
    return found
