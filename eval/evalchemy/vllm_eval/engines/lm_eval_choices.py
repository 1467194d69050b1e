"""lm_eval's questions for log-probabilities: its pairs of context and continuation, and values for a trial."""

import json
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vllm_eval.choices import ChoiceAsker, Choices
from vllm_eval.splits import Pair
from vllm_eval.tokens import TokensUnknownError, find_tokens, texts_of_chats

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

    from vllm_eval.engines.base import EngineJob


def ask_choices(
    job: "EngineJob", instances: "Sequence[Instance]", hashes: Mapping[str, str], loaded: Mapping[str, Any]
) -> dict[str, Choices]:
    """Return what is known of the choices of each task.

    Parameters
    ----------
    hashes
        Task name to task hash.
    loaded
        Task name to lm_eval's task, which knows the right choice: a trial without a model needs it.
    """
    of_task: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        of_task[str(instance.task_name)].append(instance)
    if job.post is None:
        return {name: _tried(loaded[name], its, right=job.right) for name, its in of_task.items()}
    try:
        tokens = find_tokens(job)
        pairs = {name: _pairs(job, its) for name, its in of_task.items()}
    except TokensUnknownError as error:
        return {name: Choices(problems=[str(error)]) for name in of_task}
    return ChoiceAsker(job, tokens, pairs, hashes).ask()


def _pairs(job: "EngineJob", instances: "Sequence[Instance]") -> list[Pair]:
    """Split as lm_eval does: spaces at the end of the context belong to the continuation."""
    contexts = [str(instance.args[0]) for instance in instances]
    if job.model.api == "chat":
        chats = {context: json.loads(context) for context in contexts}
        texts = dict(zip(chats, texts_of_chats(job, list(chats.values())), strict=True))
        contexts = [texts[context] for context in contexts]
    found = []
    for instance, context in zip(instances, contexts, strict=True):
        stripped = context.rstrip()
        place = int(instance.doc_id or 0), int(instance.idx)
        found.append(Pair(place, stripped, context[len(stripped) :] + instance.args[1]))
    return found


def _tried(loaded: Any, instances: "Sequence[Instance]", *, right: bool) -> Choices:  # noqa: ANN401 - lm_eval has no types
    """Give the item's own target the largest value, or none of them a reason to have it."""
    choices = Choices(route="trial")
    for instance in instances:
        if right:
            value, greedy = (-1.0, True) if instance.idx in gold(loaded, instance.doc) else (-100.0, False)
        else:
            value, greedy = -1.0 - zlib.crc32(str(instance.args).encode("utf-8", "replace")) / 2**32, False
        choices.values[int(instance.doc_id or 0), int(instance.idx)] = value, greedy
    return choices


def gold(loaded: Any, item: Mapping[str, Any]) -> tuple[int, ...]:  # noqa: ANN401 - lm_eval has no types
    """Return the indices of the right choices; of a task without choices, that of its one continuation."""
    if loaded.OUTPUT_TYPE == "loglikelihood":
        return (0,)
    target = loaded.doc_to_text(item) if loaded.multiple_input else loaded.doc_to_target(item)
    listed = list(loaded.doc_to_choice(item))
    targets = target if isinstance(target, list) else [target]
    return tuple(listed.index(each) if isinstance(each, str) and each in listed else each for each in targets)
