"""lm_eval's model class whose requests all go through the runner's pool.

Imported only when lm_eval is: see ``lm_eval.py`` beside it.
"""

import copy
import json
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import lm_eval.utils
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

from vllm_eval.requests import Answer, Failure, Request

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

    from vllm_eval.engines.base import EngineJob


class PooledModel(LocalCompletionsAPI):  # type: ignore[misc]  # lm_eval has no types
    """Builds the same bodies as lm_eval's own API models, and asks them all in one pool.

    An answer that failed or has no text becomes ``""`` for lm_eval, as its own
    models do; the runner knows which ones, and verification judges them.
    """

    def __init__(self, job: "EngineJob", **kwargs: Any) -> None:  # noqa: ANN401 - lm_eval's own arguments
        super().__init__(
            base_url=job.model.endpoint, model=job.model.asked_name, tokenizer_backend=None, seed=job.seed, **kwargs
        )
        self._job = job
        self._hashes = {task.name: task.hash for task in job.tasks}
        self._answers: dict[str, dict[tuple[int, int], Answer | Failure]] = {}
        self._known: dict[str, Answer | Failure] = {}

    def answers_of(self, task: str) -> dict[tuple[int, int], Answer | Failure]:
        """Return the answers of a task by (doc_id, repeat)."""
        return self._answers.get(task, {})

    def generate_until(self, requests: "list[Instance]", disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002
        """Answer the requests of all tasks at once; lm_eval calls it once with everything."""
        repeats: Counter[tuple[str, int]] = Counter()
        built: list[Request] = []
        for instance in requests:
            task, doc_id = str(instance.task_name), int(instance.doc_id or 0)
            context, settings = instance.args
            payload = self._create_payload(
                self.create_message([context]), generate=True, gen_kwargs=copy.deepcopy(settings), seed=self._seed
            )
            built.append(Request(task, self._hashes[task], doc_id, repeats[task, doc_id], payload))
            repeats[task, doc_id] += 1
        # A second call, to score the tasks one by one, finds its answers here.
        missing = [request for request in built if request.key not in self._known]
        if missing:
            self._known.update(self._job.ask(missing))
        texts = []
        for request in built:
            answer = self._known[request.key]
            self._answers.setdefault(request.task, {})[request.doc_id, request.repeat] = answer
            texts.append(answer.text or "" if isinstance(answer, Answer) else "")
        return texts


class PooledChatModel(PooledModel, LocalChatCompletion):  # type: ignore[misc]  # lm_eval has no types
    """The same over the chat API."""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:  # noqa: ARG002
        """Keep the messages as JSON text; the server applies the model's own template."""
        return json.dumps(chat_history, ensure_ascii=False)

    def create_message(self, messages: Any, generate: bool = False) -> Any:  # noqa: ANN401, ARG002 - lm_eval's types
        """Turn the JSON text back into messages."""
        return json.loads(messages[0])


def compile_templates_once() -> None:
    """Keep compiled templates: lm_eval compiles the same few for every item and every few-shot example.

    That is 2 ms an item before the first request: 40 s for 20,000 items.
    """
    environment = lm_eval.utils.env
    if not hasattr(environment.from_string, "cache_info"):
        environment.from_string = lru_cache(maxsize=1024)(environment.from_string)


def create_model(job: "EngineJob") -> PooledModel:
    """Create the model class for the job's API."""
    return PooledChatModel(job) if job.model.api == "chat" else PooledModel(job)
