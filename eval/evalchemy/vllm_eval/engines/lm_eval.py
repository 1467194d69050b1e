"""The default engine: lm_eval's tasks, prompts, filters and metrics, with our own pool of requests.

lm_eval is imported only when needed: it takes seconds.
"""

import importlib
import importlib.metadata
import logging
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from vllm_eval import catalog
from vllm_eval.engines.base import EngineJob, TaskOutcome
from vllm_eval.errors import TaskError, Terminated, VllmEvalError
from vllm_eval.models import Model
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
        if any(task.yaml_path is None for task in tasks):
            set_environment()  # before lm_eval is imported: it reads its caches' places then
        for task in tasks:
            if task.yaml_path is None:
                refusal = catalog.refuse(task.name, task.settings.metric)
                found += [f"{task.name}: {refusal.text}"] if refusal else []
            config = task.config or {}
            kind = config.get("output_type", "generate_until")
            if kind != "generate_until":
                found.append(f"{task.name}: output_type {kind!r} needs log-probabilities; only generate_until is run")
            if task.settings.max_tokens is not None:
                found.append(f"{task.name}: max_tokens is for evalchemy; set generation.max_gen_toks")
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

        loaded = _load(job.tasks)
        model = create_model(job)
        try:
            results = _evaluate(model, job, list(loaded.values()))
        except VllmEvalError:
            raise
        except Exception:
            # One task's filter or metric must not cost the others their score.
            log.warning("scoring all tasks together failed; scoring them one by one", exc_info=True)
            return {task.name: _score_alone(model, job, task, loaded[task.name]) for task in job.tasks}
        return {task.name: _outcome(model, task, results) for task in job.tasks}


def set_environment() -> None:
    """Keep lm_eval and datasets offline and inside the temporary folder, unless told otherwise."""
    cache = Path(os.environ.get("TMPDIR", "/tmp")) / "vllm-eval-cache"  # noqa: S108 - the pod's only writable place
    for variable, value in (
        ("HF_HOME", str(cache)),
        ("HF_HUB_OFFLINE", "1"),
        ("HF_DATASETS_OFFLINE", "1"),
        ("HF_HUB_DISABLE_TELEMETRY", "1"),
        ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
        ("LM_HARNESS_CACHE_PATH", str(cache / "lm_eval")),
        ("TQDM_DISABLE", "1"),
        ("MPLCONFIGDIR", str(cache)),
    ):
        os.environ.setdefault(variable, value)


def _load(tasks: Sequence[Task]) -> dict[str, Any]:
    from lm_eval.tasks import TaskManager

    # Only a built-in task needs the index of lm_eval's 14,000 YAML files, which takes seconds.
    built_in = any(task.yaml_path is None for task in tasks)
    manager = catalog.manager() if built_in else TaskManager(include_defaults=False)
    loaded: dict[str, Any] = {}
    found: list[str] = []
    for task in tasks:
        try:
            objects = manager.load([_spec(task)])["tasks"]
        except Terminated:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - loading runs the task's own code, which may even exit
            found.append(f"{task.name}: lm_eval cannot load it: {type(error).__name__}: {error}")
            continue
        problem = _unfit(task, objects)
        if problem is not None:
            found.append(f"{task.name}: {problem}")
        else:
            loaded[task.name] = objects[task.name]
    if found:
        raise TaskError.of("tasks", found)
    return loaded


def _unfit(task: Task, objects: Mapping[str, Any]) -> str | None:
    """Say why a task that lm_eval loaded would fail after all answers are paid for, None if it would not."""
    if list(objects) != [task.name]:
        return f"is a group ({', '.join(objects)}); enable its tasks by their names"
    loaded = objects[task.name]
    if loaded.OUTPUT_TYPE != "generate_until":
        return f"output_type {loaded.OUTPUT_TYPE!r} needs log-probabilities; only generate_until is run"
    if getattr(loaded, "MULTIMODAL", False):
        return "needs images or sound, which this runner does not send"
    # lm_eval takes an unknown metric for None, and says so only in its log.
    functions: Mapping[str, Any] = getattr(loaded, "_metric_fn_list", {})
    unknown = [name for name, function in functions.items() if function is None]
    if unknown and loaded.get_config("process_results") is None:
        return f"lm_eval does not know the metric {', '.join(unknown)}"
    if functions and task.settings.metric not in functions:
        return f"its metric_list has {', '.join(functions)}, not {task.settings.metric!r}; set the task's metric"
    return None


def _spec(task: Task) -> str | dict[str, Any]:
    """Return the task's YAML, settings laid over and data files absolute; the name of a built-in task left as it is."""
    from lm_eval.tasks._yaml_loader import load_yaml

    path = task.yaml_path
    if path is None:
        if not lay_over({}, task.settings):
            return task.name
        # lm_eval would take a mapping with the name for the whole task.
        path = catalog.manager().task_index[task.name].yaml_path
    if path is None:
        raise TaskError(f"{task.name}: has no YAML to lay num_fewshot and generation over")
    spec: dict[str, Any] = {**lay_over(load_yaml(path), task.settings), "task": task.name}
    if task.data_files:
        files = {
            split: str(paths[0]) if len(paths) == 1 else [str(path) for path in paths]
            for split, paths in task.data_files.items()
        }
        spec["dataset_kwargs"] = {**spec.get("dataset_kwargs", {}), "data_files": files}
    return spec


def _evaluate(model: "PooledModel", job: EngineJob, tasks: list[Any]) -> dict[str, Any]:
    import lm_eval.evaluator
    from lm_eval.tasks import TaskManager

    # lm_eval asks git for the commit of whatever the working directory is, and
    # lets git's "fatal: not a git repository" through to the log.
    lm_eval.evaluator.get_git_commit_hash = lambda: None

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


def _score_alone(model: "PooledModel", job: EngineJob, task: Task, loaded: Any) -> TaskOutcome:  # noqa: ANN401
    try:
        return _outcome(model, task, _evaluate(model, job, [loaded]))
    except VllmEvalError:
        raise
    except Exception as error:  # noqa: BLE001 - a task's own code may raise anything
        return TaskOutcome(problems=[f"scoring failed: {type(error).__name__}: {error}"], cause="input")


def _outcome(model: "PooledModel", task: Task, results: Mapping[str, Any]) -> TaskOutcome:
    answers = model.answers_of(task.name)
    failures = [answer.reason for answer in answers.values() if isinstance(answer, Failure)]
    if failures:
        reasons = Counter(reason for reason in failures if not reason.startswith("not asked"))
        shown = "; ".join(f"{reason} ({count} times)" for reason, count in reasons.most_common(3))
        return TaskOutcome(
            answered=len(answers) - len(failures),
            expected=len(answers),
            problems=[f"{len(failures)} of {len(answers)} requests got no answer: {shown}"],
            cause="endpoint",
        )
    metrics, stderrs = _numbers(results["results"].get(task.name, {}))
    primary = _primary(task, metrics)
    rows = [row for row in results["samples"].get(task.name, []) if primary is None or row["filter"] == primary[1]]
    given = [answer for answer in answers.values() if isinstance(answer, Answer)]
    return TaskOutcome(
        metrics=metrics,
        stderrs=stderrs,
        primary=primary,
        samples=_samples(rows, task, primary, answers) if primary else None,
        answered=len(rows),
        answers=len(given),
        expected=int(results["n-samples"][task.name]["original"] if task.limit is None else
                     min(task.limit, results["n-samples"][task.name]["original"])),
        empty=sum(answer.empty for answer in given),
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
        if metric == task.settings.metric and task.settings.filter in {None, filter_name}:
            return metric, filter_name
    return None


def _samples(
    rows: Sequence[Mapping[str, Any]],
    task: Task,
    primary: tuple[str, str],
    answers: Mapping[tuple[int, int], Answer | Failure],
) -> list[Sample] | None:
    """Build the samples; None if the metric has no number for single items (corpus metrics)."""
    values = [finite(row.get(primary[0])) for row in rows]
    if any(value is None for value in values):
        return None
    return [
        _sample(row, task, value, answers.get((int(row["doc_id"]), 0)))
        for row, value in zip(rows, values, strict=True)
        if value is not None
    ]


def _sample(row: Mapping[str, Any], task: Task, value: float, answer: Answer | Failure | None) -> Sample:
    doc_id = int(row["doc_id"])
    cluster = row["doc"].get(task.settings.cluster) if task.settings.cluster else None
    return Sample(
        item=f"{doc_id}-{str(row['doc_hash'])[:12]}",
        doc_id=doc_id,
        value=value,
        prompt=to_text(row["arguments"][0][0]),
        target=to_text(row["target"]),
        answer=answer.text if isinstance(answer, Answer) else None,
        judged=to_text(row["filtered_resps"][0]),
        finish_reason=answer.finish_reason if isinstance(answer, Answer) else None,
        cluster=None if cluster is None else to_text(cluster),
    )
