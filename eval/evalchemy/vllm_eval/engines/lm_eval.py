"""The default engine: lm_eval's tasks, prompts, filters and metrics, with our own pool of requests.

lm_eval is imported only when needed: it takes seconds.
"""

import hashlib
import importlib
import importlib.metadata
import logging
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from vllm_eval import catalog
from vllm_eval.engines.base import EngineJob, TaskOutcome, unanswered
from vllm_eval.engines.lm_eval_tasks import accepted, describe, load, untried
from vllm_eval.errors import VllmEvalError
from vllm_eval.generation import check_repeats, read_generation
from vllm_eval.models import Model
from vllm_eval.offline import set_environment
from vllm_eval.requests import Answer, Failure
from vllm_eval.results import Sample, finite, to_text
from vllm_eval.tasks import Task, lay_over

if TYPE_CHECKING:
    from vllm_eval.engines.lm_eval_model import PooledModel

log = logging.getLogger(__name__)


class LmEvalEngine:
    """``lm_eval.simple_evaluate`` over one pool."""

    name = "lm_eval"

    @cached_property
    def version(self) -> str:
        """Version of the lm_eval package, such as ``lm_eval 0.4.13``."""
        return f"lm_eval {importlib.metadata.version('lm_eval')}"

    def check(self, tasks: Sequence[Task], model: Model) -> list[str]:  # noqa: ARG002 - the protocol's arguments
        """Refuse tasks that need log-probabilities or run code from a model's answer, and unfit names of lm_eval's."""
        found = []
        for task in tasks:
            if task.yaml_path is None:
                refusal = catalog.refuse(task.name, task.metric, task.over)
                found += [f"{task.name}: {refusal.text}"] if refusal else []
            filters = catalog.filters(task.config if task.config is not None else catalog.config_of(task.name))
            if task.settings.filter not in {None, *filters}:
                found.append(f"{task.name}: it has the filter {' or '.join(filters)}, not {task.settings.filter!r}")
            config = task.config or {}
            kind = config.get("output_type", "generate_until")
            if kind != "generate_until":
                found.append(f"{task.name}: output_type {kind!r} needs log-probabilities; only generate_until is run")
            if task.settings.max_tokens is not None:
                found.append(f"{task.name}: max_tokens is for evalchemy; set generation.max_gen_toks")
            generation = config.get(
                "generation_kwargs", lay_over({}, task.settings, task.over).get("generation_kwargs")
            )
            problems = [*read_generation(generation)[1], *check_repeats(config.get("repeats", 1))]
            found += [f"{task.name}: {problem}" for problem in problems]
            if config.get("unsafe_code"):
                found.append(f"{task.name}: unsafe_code tasks run what the model writes, which this runner does not do")
        return found

    def warm_up(self) -> None:
        """Set the caches to writable places and import lm_eval."""
        set_environment()
        # Its warnings are about habits of task files ("defaulting to ..."), not about this run.
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        # requests takes chardet if it is there, whose tables take a second to
        # import; without it, it takes charset_normalizer. None: "not there".
        sys.modules.setdefault("chardet", cast("ModuleType", None))
        importlib.import_module("lm_eval.evaluator")
        importlib.import_module("vllm_eval.engines.lm_eval_model").compile_templates_once()

    def run(self, job: EngineJob) -> dict[str, TaskOutcome]:
        """Load the tasks, ask everything in one pool, score.

        Raises
        ------
        TaskError
            A task cannot be loaded; all such tasks are named.
        """
        self.warm_up()
        from vllm_eval.engines.lm_eval_model import create_model

        loaded = load(job.tasks)
        model = create_model(job)
        try:
            results = _evaluate(model, job, list(loaded.values()))
        except VllmEvalError:
            raise
        except (Exception, SystemExit) as error:
            said = describe(error)
            # One task's filter or metric must not cost the others their score.
            log.warning("scoring all tasks together failed; scoring them one by one: %s", said)
            log.debug("the failure in full", exc_info=True)
            return {task.name: _score_alone(model, job, task, loaded[task.name]) for task in job.tasks}
        return {task.name: _outcome(model, task, loaded[task.name], results) for task in job.tasks}


def _evaluate(model: "PooledModel", job: EngineJob, tasks: list[Any]) -> dict[str, Any]:
    import lm_eval.evaluator
    from lm_eval.tasks import TaskManager

    # lm_eval asks git for the commit of whatever the working directory is, and
    # lets git's "fatal: not a git repository" through to the log.
    lm_eval.evaluator.get_git_commit_hash = lambda: None
    # lm_eval's own cannot hash an item with half of a surrogate pair, and tries after all answers are there.
    lm_eval.evaluator.hash_string = _hash_text

    limits = {task.name: task.limit for task in job.tasks}
    names = [task.config.task for task in tasks]
    # simple_evaluate knows one limit for all tasks; `samples` is the way to say it for each.
    # A range and not a list: lm_eval asks "is i in it" for every item.
    samples = {
        name: range(min(limits[name] or len(task.eval_docs), len(task.eval_docs)))
        for name, task in zip(names, tasks, strict=True)
    }
    results = lm_eval.evaluator.simple_evaluate(
        model=model,
        tasks=tasks,
        samples=samples,
        log_samples=True,
        apply_chat_template=job.model.api == "chat",
        # The tasks are loaded; without this, simple_evaluate would index 14,000 YAML files.
        task_manager=TaskManager(include_defaults=False),
    )
    if results is None:
        raise RuntimeError("simple_evaluate returned nothing")
    return dict(results)


def _hash_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _score_alone(model: "PooledModel", job: EngineJob, task: Task, loaded: Any) -> TaskOutcome:  # noqa: ANN401
    try:
        return _outcome(model, task, loaded, _evaluate(model, job, [loaded]))
    except VllmEvalError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a task's own code may raise anything, and exit
        return TaskOutcome(problems=[f"scoring failed: {describe(error)}"], cause="input")


def _outcome(model: "PooledModel", task: Task, loaded: Any, results: Mapping[str, Any]) -> TaskOutcome:  # noqa: ANN401
    answers = model.answers_of(task.name)
    failed = unanswered(answers.values(), len(answers))
    if failed is not None:
        return failed
    metrics, stderrs = _numbers(results["results"].get(task.name, {}))
    primary = _primary(task, metrics)
    rows = [row for row in results["samples"].get(task.name, []) if primary is None or row["filter"] == primary[1]]
    targets = {int(row["doc_id"]): accepted(loaded, row["doc"]) for row in rows}
    given = [answer for answer in answers.values() if isinstance(answer, Answer)]
    spoken = model.spoken_of(task.name).values()
    return TaskOutcome(
        metrics=metrics,
        stderrs=stderrs,
        primary=primary,
        samples=_samples(rows, task, primary, answers, targets) if primary else None,
        targets=targets,
        untried=untried(loaded, primary[1]) if primary else None,
        answered=len(rows),
        answers=len(given),
        expected=int(results["n-samples"][task.name]["original"] if task.limit is None else
                     min(task.limit, results["n-samples"][task.name]["original"])),
        empty=sum(said.empty for said in spoken),
        only_thoughts=sum(said.only_thought for said in spoken),
        truncated=sum(answer.truncated for answer in given),
    )  # fmt: skip


def _numbers(row: Mapping[str, Any]) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], float]]:
    metrics: dict[tuple[str, str], float] = {}
    stderrs: dict[tuple[str, str], float] = {}
    for key, value in row.items():
        metric, comma, filter_name = key.partition(",")
        number = finite(value)
        if not comma or number is None:
            continue
        if metric.endswith("_stderr"):
            stderrs[metric.removesuffix("_stderr"), filter_name] = number
        else:
            metrics[metric, filter_name] = number
    return metrics, stderrs


def _primary(task: Task, metrics: Mapping[tuple[str, str], float]) -> tuple[str, str] | None:
    for metric, filter_name in metrics:
        if metric == task.metric and task.settings.filter in {None, filter_name}:
            return metric, filter_name
    return None


def _samples(
    rows: Sequence[Mapping[str, Any]],
    task: Task,
    primary: tuple[str, str],
    answers: Mapping[tuple[int, int], Answer | Failure],
    targets: Mapping[int, tuple[str, ...]],
) -> list[Sample] | None:
    """Build the samples; None if the metric has no number for single items (corpus metrics)."""
    values = [finite(row.get(primary[0])) for row in rows]
    if any(value is None for value in values):
        return None
    return [
        _sample(row, task, value, answers.get((int(row["doc_id"]), 0)), targets[int(row["doc_id"])])
        for row, value in zip(rows, values, strict=True)
        if value is not None
    ]


def _sample(
    row: Mapping[str, Any], task: Task, value: float, answer: Answer | Failure | None, targets: tuple[str, ...]
) -> Sample:
    doc_id = int(row["doc_id"])
    cluster = row["doc"].get(task.settings.cluster) if task.settings.cluster else None
    return Sample(
        item=f"{doc_id}-{str(row['doc_hash'])[:12]}",
        doc_id=doc_id,
        value=value,
        prompt=to_text(row["arguments"][0][0]),
        target=targets[0] if len(targets) == 1 else to_text(list(targets)),
        answer=answer.text if isinstance(answer, Answer) else None,
        judged=to_text(row["filtered_resps"][0]),
        finish_reason=answer.finish_reason if isinstance(answer, Answer) else None,
        cluster=None if cluster is None else to_text(cluster),
    )
