"""The commands of the command line."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vllm_eval import baseline, catalog
from vllm_eval import report as tables
from vllm_eval.asking import who_says
from vllm_eval.attempt import choose_engines
from vllm_eval.config import load_config
from vllm_eval.data.resolve import with_data
from vllm_eval.data.write import make_bundle, store
from vllm_eval.engines.repeats import EQUAL_SAMPLES
from vllm_eval.errors import RegressionError, RunSettingsError, TaskError
from vllm_eval.gateway import Gateway
from vllm_eval.generation import read_generation
from vllm_eval.groups import expand
from vllm_eval.models import Model, choose_tasks, parse_models, select_model
from vllm_eval.offline import set_environment
from vllm_eval.pages.run_page import render_run
from vllm_eval.pages.words import Words
from vllm_eval.publish import Publisher, ended_runs
from vllm_eval.records import RunResult
from vllm_eval.results import ResultStore
from vllm_eval.runner import EvaluationRunner
from vllm_eval.secrets import Redactor
from vllm_eval.settings import RunSettings, load_settings
from vllm_eval.storage import open_storage
from vllm_eval.tasks import Task, load_tasks
from vllm_eval.trial import try_tasks

log = logging.getLogger(__name__)


def run(options: argparse.Namespace, redactor: Redactor) -> int:
    """Evaluate one model; the table goes to standard output, everything else to standard error."""
    settings = load_settings(os.environ, vars(options))
    given = {
        "endpoint": options.endpoint,
        "name": options.model,
        "tag": options.tag,
        "api": options.api,
        "served_name": options.served_name,
        "concurrency": options.concurrency,
    }
    single = {key: value for key, value in given.items() if value is not None}
    selection = select_model(settings.models_file, os.environ, single)
    # A listed model names its key; the key of the environment must not be sent to its endpoint.
    fallback_key = os.environ.get("OPENAI_API_KEY") if selection.listed is None else None
    outcome = EvaluationRunner(settings, selection, redactor, fallback_key=fallback_key).run()
    _write(tables.summary(outcome.run))
    if outcome.error is not None:
        raise outcome.error
    return 0


def report(options: argparse.Namespace, redactor: Redactor) -> int:  # noqa: ARG001 - all commands are called alike
    """Show scores and wrong answers of a results folder, or write the page of one run."""
    settings = load_settings(os.environ, vars(options))
    store = ResultStore(open_storage(settings.results))
    if options.html is not None:
        return _write_page(options, settings, store)
    if options.against is not None:
        raise RunSettingsError(
            "--against belongs to the page: add --html FILE; tables are compared by `vllm-eval compare`"
        )
    names = [options.model] if options.model else store.models(settings.stack)
    if not names:
        raise RunSettingsError(_nothing(settings, store))
    for name in names:
        runs = ended_runs(store.runs(settings.stack, name))
        chosen = _choose(store, settings, name, options.run, runs)
        _write(tables.summary(chosen))
        for task, result in chosen.tasks.items():
            if options.task in {None, task}:
                before = baseline.compared_with(runs, chosen, result)
                earlier = store.samples(before[0], task) if before else None
                _write(tables.leaves(chosen, result))
                _write(tables.wrong_answers(task, store.samples(chosen, task), earlier, options.wrong))
    return 0


def _write_page(options: argparse.Namespace, settings: RunSettings, store: ResultStore) -> int:
    name = _only_model(store, settings, options.model)
    runs = ended_runs(store.runs(settings.stack, name))
    chosen = _choose(store, settings, name, options.run, runs)
    against = _choose(store, settings, name, options.against) if options.against is not None else None
    if options.task is not None:
        if options.task not in chosen.tasks:
            known = ", ".join(chosen.tasks) or "none"
            raise RunSettingsError(f"run {chosen.run_id} has no task {options.task!r}; its tasks are: {known}")
        only = {options.task: chosen.tasks[options.task]}
        chosen = chosen.model_copy(update={"tasks": only, "leaves": chosen.asked_tasks})
    content = render_run(store, runs, chosen, against, Words(settings.language))
    if options.html == "-":
        sys.stdout.buffer.write(content)
        return 0
    try:
        Path(options.html).write_bytes(content)
    except OSError as error:
        raise RunSettingsError(f"--html {options.html!r} cannot be written: {error.strerror}") from None
    log.info("%s: run %s of %s, %.1f MB", options.html, chosen.run_id, name, len(content) / 1e6)
    return 0


def compare(options: argparse.Namespace, redactor: Redactor) -> int:  # noqa: ARG001 - all commands are called alike
    """Compare a run with its pinned baseline or with another run.

    Raises
    ------
    RegressionError
        A task is worse, and ``--gate`` is given.
    """
    settings = load_settings(os.environ, {**vars(options), "gate": None})
    store = ResultStore(open_storage(settings.results))
    name = _only_model(store, settings, options.model)
    runs = ended_runs(store.runs(settings.stack, name))
    chosen = _choose(store, settings, name, options.run, runs)
    accepted = options.baseline or baseline.accepted_run(store, settings.stack, name)
    if options.baseline:
        _choose(store, settings, name, options.baseline)
    rule = baseline.BaselineRule(accepted=accepted, series=max(len(chosen.tasks), 1))
    compared = baseline.compare_run(store, runs, chosen, rule)
    _write(tables.comparison(compared))
    worse = [
        task for task, result in compared.tasks.items() if result.comparison and result.comparison.verdict == "worse"
    ]
    if options.gate and worse:
        raise RegressionError(f"worse than the baseline: {', '.join(worse)}")
    return 0


def accept(options: argparse.Namespace, redactor: Redactor) -> int:  # noqa: ARG001 - all commands are called alike
    """Make a run the baseline, and show the line that does the same in a stack's settings."""
    settings = load_settings(os.environ, vars(options))
    store = ResultStore(open_storage(settings.results))
    name = _only_model(store, settings, options.model)
    chosen = _choose(store, settings, name, options.run)
    if not chosen.complete:
        raise RunSettingsError(f"run {chosen.run_id} is not complete; a baseline needs a score of every task")
    baseline.accept(store, chosen)
    _write(
        f"run {chosen.run_id} is now the baseline of {name} in this folder.\n"
        f"In a stack, the model's settings say it instead:\n\n    baseline: {{run: {chosen.run_id}}}\n"
    )
    return 0


def publish(options: argparse.Namespace, redactor: Redactor) -> int:  # noqa: ARG001 - all commands are called alike
    """Publish every model of the stack that the results folder holds."""
    settings = load_settings(os.environ, vars(options))
    if not settings.pushgateway:
        raise RunSettingsError("no Pushgateway to publish to; set --pushgateway or VLLM_EVAL_PUSHGATEWAY")
    store = ResultStore(open_storage(settings.results))
    publisher = Publisher(store, Gateway(settings.pushgateway, wait=settings.publish_wait), settings.stack)
    names = store.models(settings.stack)
    if not names:
        raise RunSettingsError(_nothing(settings, store))
    for name in names:
        if publisher.publish(name, listed=True):
            _write(f"published {name}\n")
    publisher.retire()
    return 0


def validate(options: argparse.Namespace, redactor: Redactor) -> int:  # noqa: ARG001 - all commands are called alike
    """Check everything that can be checked without a model.

    Raises
    ------
    vllm_eval.errors.UserError
        With all problems of the first kind of input that has any.
    """
    settings = load_settings(os.environ, vars(options))
    enabled = load_config(settings.config)
    _write(f"{settings.config}: {len(enabled)} tasks enabled\n")
    models: Sequence[Model] = ()
    if options.models_file is not None:
        models = parse_models(options.models_file.read_text(encoding="utf-8"), str(options.models_file))
        for model in models:
            choose_tasks(model, enabled)
        _write(f"{options.models_file}: {len(models)} models\n")
    plan = expand(enabled, settings.tasks_folder)
    for name, group in plan.groups.items():
        weighed = "all items" if group.by_size else "the tasks' scores"
        _write(f"{name}: a group of {len(group.leaves)} tasks; its score is the mean of {weighed}\n")
    tasks = load_tasks(plan.tasks, settings.tasks_folder, limit=settings.limit, api="completions", over=plan.over)
    if any(task.wants_data for task in tasks):
        choose_engines(tasks, Model(name="validate", tag="validate", endpoint="http://127.0.0.1:1/v1"))
        if options.no_data:
            wanting = [task.name for task in tasks if task.wants_data]
            _write(f"{len(wanting)} tasks have their data on a hub or in a bundle, which is not read: {wanting[0]} …\n")
            tasks = [task for task in tasks if not task.wants_data]
        else:
            tasks = with_data(tasks, settings.data)
    for line in try_tasks(tasks, series=len(enabled) * max(len(models), 1)):
        _write(f"{line}\n")
    for line in _asked(tasks, models):
        _write(f"{line}\n")
    return 0


def _asked(tasks: Sequence[Task], models: Sequence[Model]) -> list[str]:
    """Say with what each task is asked of each model, where more than its YAML says it.

    Raises
    ------
    TaskError
        Repeated answers that a model's settings make all the same.
    """
    lines: list[str] = []
    found: list[str] = []
    for model in models:
        layer = model.asking.layer(model.api)
        for task in (replace(task, asking=model.asking, api=model.api) for task in tasks):
            own = task.settings.generation or {}
            greedy = read_generation(task.generation)[0].temperature == 0
            if task.samples > 1 and greedy and task.config is not None:
                found.append(f"{task.name} of {model.name}: {EQUAL_SAMPLES.format(task.samples)}")
            if layer or own:
                said = who_says(task.yaml_generation, layer, own)
                stops = "; its stops are looked for after the thought" if model.asking.thinks else ""
                lines.append(f"{task.name} of {model.name} is asked with {said}{stops}")
    if found:
        raise TaskError.of("samples", found)
    return lines


def tasks(options: argparse.Namespace, redactor: Redactor) -> int:  # noqa: ARG001 - all commands are called alike
    """List lm_eval's tasks: those that run here, with the metric to set; on request the others; then the sums.

    Raises
    ------
    RunSettingsError
        If no name matches.
    """
    found = catalog.select(options.pattern)
    if not found:
        near = catalog.near(options.pattern)
        raise RunSettingsError(f"no task, group or tag of lm_eval's matches {options.pattern!r}{near}")
    for name, refusal in found.items():
        if refusal is None:
            _write(f"{name}\n")
        elif refusal.reason is catalog.Reason.CHOOSE_METRIC or options.refused:
            _write(f"{name}: {refusal.text}\n")
    _write(tables.refusals(found.values()))
    return 0


def bundle(options: argparse.Namespace, redactor: Redactor) -> int:  # noqa: ARG001 - all commands are called alike
    """Make a bundle of the named tasks' data, from the hub.

    Raises
    ------
    vllm_eval.errors.UserError, vllm_eval.errors.InfrastructureError
        A task's data is not to be had; nothing is written then.
    """
    for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        os.environ.setdefault(variable, "0")
    set_environment()
    settings = load_settings(os.environ, {"config": options.config, "tasks": options.tasks})
    revisions = dict(_revision(text) for text in options.revision)
    manifest, contents = make_bundle(
        options.names, settings.tasks_folder, all_fewshot=options.fewshot, revisions=revisions
    )
    place = store(contents, options.out)
    _write(tables.bundle(manifest, place, sum(map(len, contents.values()))))
    return 0


def _revision(text: str) -> tuple[str, str]:
    name, equals, revision = text.partition("=")
    if not equals or not name or not revision:
        raise RunSettingsError(f"--revision is {text!r}; write it as TASK=REVISION")
    return name, revision


def _choose(
    store: ResultStore, settings: RunSettings, model: str, run_id: str | None, ended: Sequence[RunResult] | None = None
) -> RunResult:
    """Return the named run, else the last that ended; a caller that has read the ended runs gives them."""
    if run_id is not None:
        found = store.load(settings.stack, model, run_id)
        if found is None:
            known = ", ".join(item.run_id for item in store.runs(settings.stack, model)[-5:]) or "none"
            raise RunSettingsError(
                f"there is no run {run_id!r} of {model!r} in {settings.results}; the last are: {known}"
            )
        return found
    runs = ended_runs(store.runs(settings.stack, model)) if ended is None else ended
    if not runs:
        raise RunSettingsError(f"there is no ended run of {model!r} in {settings.results} (stack {settings.stack!r})")
    return runs[-1]


def _only_model(store: ResultStore, settings: RunSettings, given: str | None) -> str:
    if given is not None:
        return given
    names = store.models(settings.stack)
    if len(names) != 1:
        raise RunSettingsError(_nothing(settings, store) if not names else f"give --model, one of: {', '.join(names)}")
    return names[0]


def _nothing(settings: RunSettings, store: ResultStore) -> str:
    stacks = ", ".join(store.storage.list("runs")) or "none"
    return f"{settings.results} holds no run of the stack {settings.stack!r} (stacks there: {stacks})"


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
