"""Whether a task's answers support a score. Every problem is reported, not the first."""

import math
from collections import Counter

from vllm_eval.engines.base import TaskOutcome
from vllm_eval.speech import Thoughts
from vllm_eval.tasks import Task
from vllm_eval.thoughts import OWN_WORDS_SHARE


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
    wanted = outcome.repeats
    counts = Counter(sample.item for sample in outcome.samples)
    twice = [item for item, count in counts.items() if count > wanted]
    if len(outcome.samples) != outcome.answered * wanted:
        found.append(f"{len(outcome.samples)} samples for {outcome.answered} scored items" + _times(wanted))
    if twice:
        found.append(f"{len(twice)} items are scored more than {_often(wanted)}, the first is {twice[0]}")
    elif any(count < wanted for count in counts.values()):
        found.append(f"not every item is scored {wanted} times")
    values = [sample.value for sample in outcome.samples]
    score = outcome.metrics.get(outcome.primary)
    if values and score is not None and all(value in {0.0, 1.0} for value in values):
        mean = sum(values) / len(values)
        if not math.isclose(mean, score, abs_tol=1e-9):
            found.append(f"the score is {score}, but the items' mean is {mean}")
    return found


def _times(wanted: int) -> str:
    return f", each asked {wanted} times" if wanted > 1 else ""


def _often(wanted: int) -> str:
    return "once" if wanted == 1 else f"{wanted} times"


def _shares(task: Task, outcome: TaskOutcome) -> list[str]:
    unfinished = outcome.thoughts.unfinished if outcome.thoughts else 0
    settings = task.settings
    found = _thoughts(task, outcome)
    empty, truncated = outcome.empty - unfinished, outcome.truncated - unfinished
    if outcome.only_thoughts > unfinished and empty > settings.max_empty_share * outcome.answers:
        found.append(
            f"{outcome.only_thoughts} of {outcome.answers} answers are thoughts and nothing else; if these are in the "
            "text (<think>), start the server with its --reasoning-parser; else set the model's reasoning to any, so "
            "that no stop of the task cuts a thought, raise the token limit, or turn thinking off (reasoning: off)"
        )
    for what, count, most, key in (
        ("without text", empty, settings.max_empty_share, "max_empty_share"),
        ("cut by the token limit", truncated, settings.max_truncated_share, "max_truncated_share"),
    ):
        if count > most * outcome.answers:
            found.append(
                f"{count} of {outcome.answers} answers are {what}, more than {key} {most:g} allows; "
                "look at them with `vllm-eval report`, then mend the prompt, the token limit or the bound"
            )
    return found


def _thoughts(task: Task, outcome: TaskOutcome) -> list[str]:
    """Compare what the model thought with what its ``reasoning`` says of it."""
    seen = outcome.thoughts or Thoughts()
    asking, total = task.asking, outcome.answers
    found = []
    if asking.reasoning is not None and asking.think_end_token is None and seen.in_text > OWN_WORDS_SHARE * total:
        found.append(
            f"{seen.in_text} of {total} answers have tags of thoughts in their text: the server does not send thoughts "
            "apart; start it with its --reasoning-parser, or set the model's think_end_token (such as </think>)"
        )
    if asking.reasoning == "off" and seen.answers > OWN_WORDS_SHARE * total:
        found.append(
            f"{seen.answers} of {total} answers hold a thought, though the model's reasoning is off: its template has "
            "another switch; set it in generation.chat_template_kwargs, or set reasoning to any"
        )
    if asking.reasoning == "required" and seen.answers < total:
        found.append(
            f"{total - seen.answers} of {total} answers came without a thought, though the model's reasoning is "
            "required; turn it on in generation.chat_template_kwargs, start the server with its --reasoning-parser, or "
            "set reasoning to any"
        )
    most = task.settings.max_unfinished_thoughts_share
    if seen.unfinished > most * total:
        found.append(
            f"{seen.unfinished} of {total} answers never stopped thinking before the token limit, more than "
            f"max_unfinished_thoughts_share {most:g} allows; raise the model's generation.max_tokens, bound the "
            "thought (generation.thinking_token_budget), or turn thinking off (reasoning: off)"
        )
    return found
