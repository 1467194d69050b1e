"""lm_eval's model class whose requests all go through the runner's pool.

Imported only when lm_eval is: see ``lm_eval.py`` beside it.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import lm_eval.utils
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

from vllm_eval.choices import Choices
from vllm_eval.engines.lm_eval_choices import ask_choices
from vllm_eval.errors import TaskError
from vllm_eval.generation import Generation, differences, read_generation, unsendable
from vllm_eval.requests import Answer, Failure, Request
from vllm_eval.thoughts import Rule, Spoken, spoken_of

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

    from vllm_eval.engines.base import EngineJob

log = logging.getLogger(__name__)

# Problems of a task's requests that are shown; one fault usually shows in every item.
SHOWN_PROBLEMS = 3


class PooledModel(LocalCompletionsAPI):  # type: ignore[misc]  # lm_eval has no types
    """Builds one body for each question, and asks them all in one pool.

    An answer that failed or has no text becomes ``""`` for lm_eval, as its own
    models do; the runner knows which ones, and verification judges them.
    """

    def __init__(self, job: "EngineJob", **kwargs: Any) -> None:  # noqa: ANN401 - lm_eval's own arguments
        super().__init__(
            base_url=job.model.endpoint, model=job.model.asked_name, tokenizer_backend=None, seed=job.seed, **kwargs
        )
        self._job = job
        self._tasks = {task.name: task for task in job.tasks}
        # Which of an item's answers are scored now, where it is asked several times (`samples`).
        self.turn = 0
        # What the tasks' own YAML files ask for; lm_eval's own tasks are compared with what lm_eval loaded.
        self._wanted = {
            task.name: read_generation(task.config.get("generation_kwargs"))[0]
            for task in job.tasks
            if task.config is not None
        }
        self._read: dict[str, tuple[Any, Generation, list[str]]] = {}
        self._answers: dict[str, dict[tuple[int, int], Answer | Failure]] = {}
        self._spoken: dict[str, dict[tuple[int, int], Spoken]] = {}
        self._known: dict[str, Answer | Failure] = {}
        self._choices: dict[str, Choices] = {}
        # lm_eval's tasks by name, once they are loaded.
        self.loaded: Mapping[str, Any] = {}

    def answers_of(self, task: str) -> dict[tuple[int, int], Answer | Failure]:
        """Return the answers of a task by (doc_id, repeat)."""
        return self._answers.get(task, {})

    def spoken_of(self, task: str) -> dict[tuple[int, int], Spoken]:
        """Return what is graded of a task's answers by (doc_id, repeat)."""
        return self._spoken.get(task, {})

    def choices_of(self, task: str) -> Choices | None:
        """Return what is known of a task's log-probabilities; None of a task that generates."""
        return self._choices.get(task)

    def loglikelihood(self, requests: "list[Instance]", disable_tqdm: bool = False) -> list[tuple[float, bool]]:  # noqa: ARG002
        """Tell the log-probability of each continuation; what cannot be believed, :meth:`choices_of` says."""
        missing = [instance for instance in requests if str(instance.task_name) not in self._choices]
        if missing:
            hashes = {name: task.hash for name, task in self._tasks.items()}
            self._choices.update(ask_choices(self._job, missing, hashes, self.loaded))
        return [
            self._choices[str(instance.task_name)].values.get(
                (int(instance.doc_id or 0), int(instance.idx)), (0.0, False)
            )
            for instance in requests
        ]

    def generate_until(self, requests: "list[Instance]", disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002
        """Answer the requests of all tasks at once; lm_eval calls it once with everything.

        Raises
        ------
        TaskError
            A request is not what its task's YAML says, or no server could read it; nothing was asked.
        """
        repeats: Counter[tuple[str, int]] = Counter()
        asked: list[Request] = []
        scored: list[Request] = []
        found: dict[str, list[str]] = {}
        for instance in requests:
            task, doc_id = str(instance.task_name), int(instance.doc_id or 0)
            first, samples = repeats[task, doc_id], self._tasks[task].samples
            repeats[task, doc_id] += samples
            built = [self._request(task, doc_id, first + number, *instance.args) for number in range(samples)]
            problems = self._problems(built[0], instance.args[0])
            if problems:
                found.setdefault(task, []).append(f"{task}: item {doc_id}: {'; '.join(problems)}")
            built = [self._without_stops(request) for request in built]
            asked += built
            scored.append(built[self.turn if samples > 1 else 0])
        if found:
            raise TaskError.of("requests", [line for lines in found.values() for line in _some(lines)])
        # A further call, to score other answers or the tasks one by one, finds its answers here.
        missing = [request for request in asked if request.key not in self._known]
        if missing:
            self._known.update(self._job.ask(missing))
        self._read_answers(asked)
        return [self._spoken[request.task][request.doc_id, request.repeat].text for request in scored]

    def _request(self, task: str, doc_id: int, repeat: int, context: str, settings: dict[str, Any]) -> Request:
        known = self._read.get(task)
        if known is None or known[0] != settings:
            # All items of a task have equal settings.
            known = self._read[task] = (settings, *read_generation(settings))
        payload = {**self._asked(context), "model": self.model, **known[1].parameters(self._seed, repeat)}
        return Request(task, self._tasks[task].hash, doc_id, repeat, payload)

    def _without_stops(self, request: Request) -> Request:
        """Keep the stops from the server where the model thinks: they would cut its thought."""
        if not self._tasks[request.task].asking.thinks:
            return request
        return replace(request, payload={**request.payload, "stop": []})

    def _asked(self, context: str) -> dict[str, Any]:
        """Return the part of the payload that is the question."""
        return {"prompt": context}

    def _problems(self, request: Request, context: str) -> list[str]:
        """Compare a request with the question that lm_eval made, and with what the YAML asks for."""
        _, loaded, problems = self._read[request.task]
        wanted = self._wanted.get(request.task, loaded)
        found = differences(request.payload, wanted, seed=self._job.seed, repeat=request.repeat)
        if self._context(request.payload) != context:
            found.append("the prompt is not the one that the task makes of the item")
        problem = unsendable(request.payload.get("messages") or request.payload["prompt"])
        return [*problems, *found, *([problem] if problem is not None else [])]

    def _context(self, payload: Mapping[str, Any]) -> str:
        return str(payload["prompt"])

    def _read_answers(self, asked: Sequence[Request]) -> None:
        """Keep the answers, and what is graded of them."""
        of_task: dict[str, list[Request]] = {}
        for request in asked:
            of_task.setdefault(request.task, []).append(request)
        for task, its_requests in of_task.items():
            places = [(request.doc_id, request.repeat) for request in its_requests]
            if self._spoken.get(task, {}).keys() >= set(places):
                continue
            answers = [self._known[request.key] for request in its_requests]
            given = [answer if isinstance(answer, Answer) else None for answer in answers]
            spoken = spoken_of(given, self._rule(task))
            _warn_of_thoughts(task, spoken)
            self._answers.setdefault(task, {}).update(zip(places, answers, strict=True))
            self._spoken.setdefault(task, {}).update(zip(places, spoken, strict=True))

    def _rule(self, task: str) -> Rule:
        asking, read = self._tasks[task].asking, self._read[task][1]
        if not asking.thinks:
            return Rule(asking=asking)
        keep = bool(read.others.get("include_stop_str_in_output"))
        return Rule(asking=asking, stops=read.stops or (), keep_stop=keep)


class PooledChatModel(PooledModel, LocalChatCompletion):  # type: ignore[misc]  # lm_eval has no types
    """The same over the chat API."""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:  # noqa: ARG002
        """Keep the messages as JSON text; the server applies the model's own template."""
        return json.dumps(chat_history, ensure_ascii=False)

    def _asked(self, context: str) -> dict[str, Any]:
        """Return the messages; one of the assistant at the end (``gen_prefix``) is to be continued.

        Without the two flags, a server ends that message and begins another.
        """
        messages = json.loads(context)
        if messages[-1]["role"] != "assistant":
            return {"messages": messages}
        return {"messages": messages, "continue_final_message": True, "add_generation_prompt": False}

    def _context(self, payload: Mapping[str, Any]) -> str:
        return self.apply_chat_template(payload["messages"])


def _some(lines: list[str]) -> list[str]:
    more = len(lines) - SHOWN_PROBLEMS
    return [*lines[:SHOWN_PROBLEMS], *([f"... and {more} more items of this task"] if more > 0 else [])]


def _warn_of_thoughts(task: str, spoken: Sequence[Spoken]) -> None:
    count = sum(said.tagged for said in spoken)
    if count:
        log.warning(
            "task %s: %d of %d answers have the model's thoughts in their text, which are not graded; "
            "start the server with its --reasoning-parser, so that no stop of the task cuts them",
            task, count, len(spoken),
        )  # fmt: skip


def compile_templates_once() -> None:
    """Keep compiled templates: lm_eval compiles the same few for every item and every few-shot example.

    That is 2 ms an item before the first request: 40 s for 20,000 items.
    """
    environment = lm_eval.utils.env
    if not hasattr(environment.from_string, "cache_info"):
        environment.from_string = lru_cache(maxsize=1024)(environment.from_string)
        # The item as one mapping: as keyword arguments, a field named "self" would be taken for the template.
        lm_eval.utils.apply_template = lambda template, item: environment.from_string(template).render(item)


def create_model(job: "EngineJob") -> PooledModel:
    """Create the model class for the job's API."""
    return PooledChatModel(job) if job.model.api == "chat" else PooledModel(job)
