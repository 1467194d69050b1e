"""The single answers in a results file of Evalchemy's, each judged again and counted against Evalchemy's own sums."""

import hashlib
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, cast

from vllm_eval.records import Sample, to_text
from vllm_eval.spool import Kept
from vllm_eval.thoughts import Spoken


def read_samples(row: Mapping[str, Any], repeats: int) -> list[Sample] | None:
    """Return the answers of a benchmark, judged as it judges them.

    Its file has the answers and, for each repeat, how many are right, but not
    which. They are judged here by the function that it uses, of this lm_eval.

    Returns
    -------
    list of Sample or None
        None where the file has no answers, or where a sum differs from
        Evalchemy's own: then nobody knows which items are right.
    """
    examples = row.get("examples")
    if not isinstance(examples, Sequence) or not examples:
        return None
    try:
        samples = [sample for number, example in enumerate(examples) for sample in _of_item(number, example, repeats)]
        stated = [int(run["num_solved"]) for run in row["run_stats"]] if repeats > 1 else [int(row["num_solved"])]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return None
    counted = [sum(sample.value == 1.0 for sample in samples if sample.repeat == turn) for turn in range(repeats)]
    return samples if counted == stated else None


def thoughts_of(samples: Sequence[Sample], asked: Sequence[tuple[str, Spoken]]) -> dict[tuple[int, int], Kept]:
    """Return what was thought before each sample's answer, by ``doc_id`` and repeat.

    The file does not say which request an answer came of: it is one with the
    sample's problem and answer. Equal ones are taken in order.

    Parameters
    ----------
    asked
        The prompt of each request, and what it brought.
    """
    left: dict[tuple[str, str], deque[Spoken]] = defaultdict(deque)
    for prompt, said in asked:
        left[prompt, to_text(said.text)].append(said)
    prompts = list(dict.fromkeys(prompt for prompt, _ in asked))
    prompt_of = {sample.doc_id: next((each for each in prompts if sample.prompt in each), "") for sample in samples}
    found: dict[tuple[int, int], Kept] = {}
    for sample in samples:
        its = left[prompt_of[sample.doc_id], sample.answer or ""]
        inner = its.popleft().inner if its else None
        if inner is not None:
            found[sample.doc_id, sample.repeat] = inner
    return found


@cache
def _judge() -> Callable[[str, str | None], bool]:
    with warnings.catch_warnings():
        # Of escapes in its texts, which says nothing of the answers.
        warnings.simplefilter("ignore")
        from lm_eval.tasks.hendrycks_math.utils import is_equiv
    return cast("Callable[[str, str | None], bool]", is_equiv)


def _of_item(number: int, example: Mapping[str, Any], repeats: int) -> list[Sample]:
    is_equiv = _judge()
    gold = str(example["expected_answer"] if "expected_answer" in example else example["answer"])
    single = "model_answer" in example
    answers = [example["model_answer"]] if single else example["model_answers"]
    outputs = [example["model_output"]] if single else example["model_outputs"]
    if len(answers) != repeats or len(outputs) != repeats:
        raise ValueError(f"item {number} has {len(answers)} answers")
    problem = to_text(example["problem"])
    digest = hashlib.sha256(f"{problem}\n{gold}".encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return [
        Sample(
            item=f"{number}-{digest}",
            doc_id=number,
            value=float(is_equiv(gold, answer)),
            prompt=problem,
            target=to_text(gold),
            answer=to_text(output),
            judged=to_text(answer or ""),
            repeat=turn,
        )
        for turn, (answer, output) in enumerate(zip(answers, outputs, strict=True))
    ]
