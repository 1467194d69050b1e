"""An engine without lm_eval: exact match of the stripped answer. For tests and for trying a stack out."""

from collections.abc import Sequence

from vllm_eval.engines.base import EngineJob, TaskOutcome, counted, unanswered
from vllm_eval.models import Model
from vllm_eval.records import Sample, to_text
from vllm_eval.requests import Answer, Failure, Request
from vllm_eval.tasks import Task
from vllm_eval.thoughts import Rule, spoken_of


class FakeEngine:
    """Asks each item's ``question`` field and compares with its ``answer`` field."""

    name = "fake"
    version = "fake 1"

    def check(self, tasks: Sequence[Task], model: Model) -> list[str]:  # noqa: ARG002 - the protocol's arguments
        """Refuse tasks without local data, and repeats."""
        found = [f"{task.name}: the fake engine needs data_files" for task in tasks if not task.data_files]
        return found + [f"{task.name}: the fake engine asks once; remove samples" for task in tasks if task.samples > 1]

    def warm_up(self) -> None:
        """Nothing is slow here."""

    def run(self, job: EngineJob) -> dict[str, TaskOutcome]:
        """Evaluate all tasks of the job."""
        items = {task.name: _items(task) for task in job.tasks}
        requests = {
            task.name: [_request(job, task, index, item) for index, item in enumerate(items[task.name])]
            for task in job.tasks
        }
        answers = job.ask([request for group in requests.values() for request in group])
        return {
            task.name: _outcome(task, items[task.name], [answers[request.key] for request in requests[task.name]])
            for task in job.tasks
        }


def _items(task: Task) -> list[dict[str, str]]:
    return [item for items in task.splits.values() for item in items][: task.limit]


def _request(job: EngineJob, task: Task, index: int, item: dict[str, str]) -> Request:
    settings = (task.config or {}).get("generation_kwargs", {})
    payload: dict[str, object] = {
        "model": job.model.asked_name,
        "max_tokens": settings.get("max_gen_toks", 32),
        "temperature": 0,
        "seed": job.seed,
    }
    if job.model.api == "chat":
        payload["messages"] = [{"role": "user", "content": item["question"]}]
    else:
        payload["prompt"] = item["question"]
    return Request(task.name, task.hash, index, 0, payload)


def _outcome(task: Task, items: list[dict[str, str]], answers: list[Answer | Failure]) -> TaskOutcome:
    failed = unanswered(answers, len(items))
    if failed is not None:
        return failed
    given = [answer for answer in answers if isinstance(answer, Answer)]
    spoken = spoken_of(given, Rule(asking=task.asking))
    samples = [
        Sample(
            item=str(index), doc_id=index, value=float(said.text.strip() == str(item["answer"])),
            prompt=to_text(item["question"]), target=to_text(item["answer"]), answer=answer.text,
            judged=said.text.strip(), finish_reason=answer.finish_reason,
            cluster=item.get(task.settings.cluster or ""), tokens=answer.tokens,
        )
        for index, (item, answer, said) in enumerate(zip(items, given, spoken, strict=True))
    ]  # fmt: skip
    key = ("exact_match", "none")
    outcome = TaskOutcome(
        metrics={key: sum(sample.value for sample in samples) / len(samples)},
        primary=key,
        samples=samples,
        answered=len(samples),
        expected=len(items),
        inner={(index, 0): said.inner for index, said in enumerate(spoken) if said.inner is not None},
    )
    return counted(outcome, given, spoken)
