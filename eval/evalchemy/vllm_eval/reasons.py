"""The reason of a verdict: facts that a run's record keeps, and the sentence that they form in each language."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from vllm_eval.errors import some
from vllm_eval.metrics import PRACTICAL_DROP

# The cases in which a task's data is not what it was.
OF_THE_DATA: Final = frozenset({"data_changed", "other_leaves"})

# What a sentence says, by the code of the facts. Their values stand in braces.
WHY: Final[Mapping[str, str]] = {
    "no_earlier_run": "there is no earlier run of this task",
    "other_task": (
        "the task is not the one of the baseline (its text, data, limit, the API or the model's generation settings "
        "changed); accept a new baseline"
    ),
    "other_engine": (
        "the engine is {engine}, the baseline's {before}, and prompts differ between versions; accept a new baseline"
    ),
    "data_changed": "the data changed: {data}; a new baseline begins with this run",
    "other_leaves": "the data changed: other tasks have it; a new baseline begins with this run",
    "leaf_means": (
        "{score:.4g} against {mean:.4g}: the score is the mean of its leaves' means, which can be tested only on the "
        "same items, each right or wrong"
    ),
    "dropped": "more than {drop:g} % below the baseline, and not by chance",
    "above": "above the baseline, and not by chance",
    "too_few_right": "the baseline has too few right answers for any drop to be told from chance",
    "perhaps_chance": "more than {drop:g} % below the baseline, but it may be chance; more items would tell",
    "small_drop": "below the baseline, but not by more than {drop:g} %",
    "no_drop": "no sign of a drop",
}
# What stands before it where scores were tested; of each pair the second is for more than one.
SCORES: Final = (
    "{score:.4g} against {mean:.4g} of 1 baseline run",
    "{score:.4g} against {mean:.4g} of {runs} baseline runs",
)
ITEMS: Final = ("{items} items", "{items} items x {answers} answers")
TEST: Final = "p = {p_value:.2g}, level {level:.2g}"
MORE: Final = "and {count} more"
SENTENCES: Final = (*WHY.values(), *SCORES, *ITEMS, TEST, MORE)
MOST_TOLD: Final = 3


@dataclass(frozen=True)
class Facts:
    """What a comparison found: which of the cases of `WHY`, and the values of its sentence.

    A score that was tested has ``score``, ``mean`` (the baseline's), ``runs``, ``items``, ``answers`` (to each item),
    ``p_value``, ``level`` and ``drop`` (in percent).
    """

    code: str
    values: Mapping[str, int | float | str | tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def tested(
        cls, code: str, *, score: float, mean: float, runs: int, items: int, answers: int, p_value: float, level: float
    ) -> "Facts":
        """Return the facts of a score that was tested; scores are 0..1."""
        values = {
            "score": score, "mean": mean, "runs": runs, "items": items, "answers": answers, "p_value": p_value,
            "level": level, "drop": 100 * float(PRACTICAL_DROP),
        }  # fmt: skip
        return cls(code, values)

    def sentence(self, translate: Callable[[str], str] = str) -> str:
        """Return one sentence for people, without its full stop.

        Parameters
        ----------
        translate
            Makes of an English template of `SENTENCES` that of another language.
        """
        more = translate(MORE)
        told = {
            name: some(value, MOST_TOLD, more) if isinstance(value, tuple) else value
            for name, value in self.values.items()
        }
        why = translate(WHY[self.code]).format_map(told)
        if "p_value" not in told:
            return why
        parts = (SCORES[self.values["runs"] != 1], ITEMS[self.values["answers"] != 1], TEST)
        return f"{', '.join(translate(part).format_map(told) for part in parts)}: {why}"
