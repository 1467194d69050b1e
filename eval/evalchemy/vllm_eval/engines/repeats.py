"""Several answers to each item: one score of all of them, and what else they tell."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import comb, fsum
from typing import Final

from vllm_eval.engines.base import TaskOutcome
from vllm_eval.records import Sample

# A refusal, which needs the number of samples.
EQUAL_SAMPLES: Final = (
    "samples: {} answers without a temperature are all the same; set one in the model's generation or in the task's, "
    "or remove samples"
)


def merged(turns: Sequence[TaskOutcome]) -> TaskOutcome:
    """Make one outcome of those of each answer to the items.

    Every metric is its mean (avg@n). Where each answer is right or wrong,
    pass@k and maj@n stand beside the task's score.
    """
    if len(turns) == 1:
        return turns[0]
    first = turns[0]
    metrics = {
        key: fsum(turn.metrics[key] for turn in turns) / len(turns)
        for key in first.metrics
        if all(key in turn.metrics for turn in turns)
    }
    samples = None
    if all(turn.samples is not None for turn in turns):
        every = [sample for turn in turns for sample in turn.samples or ()]
        samples = sorted(every, key=lambda sample: (sample.doc_id, sample.repeat))
    further = further_scores(samples) if samples else {}
    name = first.primary[1] if first.primary else "none"
    return replace(
        first,
        metrics={**metrics, **{(metric, name): value for metric, value in further.items()}},
        # One answer's error bar is not that of several.
        stderrs={},
        samples=samples,
        answered=min(turn.answered for turn in turns),
        repeats=len(turns),
    )


def further_scores(samples: Sequence[Sample]) -> dict[str, float]:
    """Return pass@k for k = 2, 4, 8 … n, and maj@n; none if an answer is neither right nor wrong.

    pass@k is the unbiased estimator (Chen et al., arXiv:2107.03374): the share
    of draws of k of an item's n answers that hold a right one. maj@n takes the
    text that most of an item's answers come to (after the task's filter); of
    equally many, the earliest. Answers that come to nothing have no vote.
    """
    items: dict[str, list[Sample]] = {}
    for sample in samples:
        items.setdefault(sample.item, []).append(sample)
    n = min(map(len, items.values()))
    if n == 1 or any(sample.value not in {0.0, 1.0} for sample in samples):
        return {}
    rights = [sum(sample.value == 1.0 for sample in answers) for answers in items.values()]
    powers = {2**exponent for exponent in range(1, n.bit_length()) if 2**exponent <= n} | {n}
    found = {f"pass@{k}": fsum(_pass_at(k, n, right) for right in rights) / len(rights) for k in sorted(powers)}
    found[f"maj@{n}"] = fsum(map(_majority, items.values())) / len(items)
    return found


def _pass_at(k: int, n: int, right: int) -> float:
    return 1 - comb(n - right, k) / comb(n, k)


def _majority(answers: Sequence[Sample]) -> float:
    votes: Mapping[str, int] = Counter(sample.judged for sample in answers if sample.judged.strip())
    if not votes:
        return answers[0].value
    most = max(votes.values())
    return next(sample.value for sample in answers if votes.get(sample.judged) == most)
