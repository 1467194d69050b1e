"""Items from a Hugging Face hub, or a mirror of it, always at a known commit."""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from vllm_eval.data.task_data import TaskData, digest_of, sha256, to_lines
from vllm_eval.engines.lm_eval_tasks import describe, spec_of
from vllm_eval.errors import DataError, TaskError, VllmEvalError
from vllm_eval.tasks import Task

_ON: Final = frozenset({"1", "ON", "YES", "TRUE"})
# What lm_eval names where the files are given by name or address, and no repository is.
_FORMATS: Final = frozenset({"arrow", "csv", "json", "pandas", "parquet", "text", "xml"})
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True)
class Repository:
    """A hub's repository at a commit. ``gated`` is ``no``, or how access is given."""

    commit: str
    licence: str | None
    gated: str


@dataclass(frozen=True)
class Source:
    """What a task's YAML says of its data: repository (empty: no hub's), configuration and revision."""

    repository: str
    config: str | None
    revision: str | None


def is_offline() -> bool:
    """Whether the environment forbids to ask a hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in _ON


def fetch(task: Task) -> tuple[TaskData, Source, Repository]:
    """Load a task with lm_eval, its data at the commit that its revision names now.

    Raises
    ------
    TaskError
        The hub has no such repository or revision, or does not give it to this token; or the task cannot be loaded.
    DataError
        The hub cannot be reached, or what it sends cannot be kept.
    """
    from lm_eval.tasks import TaskManager

    from vllm_eval.engines.lm_eval_data import take

    spec = dict(spec_of(task, whole=True))
    source = source_of(task, spec)
    try:
        with _authority():
            found = _repository(source.repository, source.revision) if source.repository else Repository("", None, "no")
            if found.commit:
                spec["dataset_kwargs"] = {**(spec.get("dataset_kwargs") or {}), "revision": found.commit}
            loaded = TaskManager(include_defaults=False).load([spec])["tasks"][task.name]
            taken = take(loaded)
    except VllmEvalError:
        raise
    except (Exception, SystemExit) as error:
        # Loading runs the task's own code, which may raise anything.
        raise explain(error, task.name, source) from error
    name = f"{task.name} ({source.repository or 'its data'})"
    hashes = [None if docs is None else sha256(to_lines(docs, name)) for docs in (taken.items, taken.fewshot)]
    data = TaskData(
        repository=source.repository,
        commit=found.commit,
        config=source.config,
        digest=digest_of(str(hashes[0]), hashes[1]),
        items=loaded.eval_docs,
        loaded=loaded,
    )
    return data, source, found


def source_of(task: Task, spec: Mapping[str, Any]) -> Source:
    """Read where a task's data is from its YAML and settings."""
    path = str(spec.get("dataset_path") or "")
    config = spec.get("dataset_name")
    on_hub = path and path not in _FORMATS and not callable(spec.get("custom_dataset")) and not Path(path).is_dir()
    options = spec.get("dataset_kwargs") or {}
    return Source(
        repository=path if on_hub else "",
        config=None if config is None else str(config),
        revision=task.settings.revision or options.get("revision"),
    )


@cache
def _repository(name: str, revision: str | None) -> Repository:
    """Ask the hub for a revision's commit; once a process, so that tasks of one data set have one commit."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        info = HfApi().dataset_info(name, revision=revision)
    except OfflineModeIsEnabled:
        return Repository(_cached_commit(name, revision), None, "no")
    card = info.card_data
    licence = card.get("license") if card is not None else None
    licence = ", ".join(licence) if isinstance(licence, list) else licence
    return Repository(str(info.sha), licence, str(info.gated) if info.gated else "no")


def _cached_commit(name: str, revision: str | None) -> str:
    """Return the commit that the hub's cache on this machine has for a revision; empty if none."""
    from huggingface_hub.constants import HF_HUB_CACHE

    path = Path(HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}" / "refs" / (revision or "main")
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return revision or ""


@contextmanager
def _authority() -> Iterator[None]:
    """Let the hub's own CA be trusted, and by nothing else that this process asks."""
    given = os.environ.get("VLLM_EVAL_HUB_CA")
    if not given:
        yield
        return
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, given))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def explain(error: BaseException, task: str, source: Source) -> VllmEvalError:
    """Make of whatever loading raised one error that says whose fault it is, with the cure."""
    from huggingface_hub import constants
    from huggingface_hub.errors import OfflineModeIsEnabled

    what = f"{task}: {source.repository or 'its data'}"
    causes = list(_causes(error))
    full = next((cause for cause in causes if isinstance(cause, OSError) and cause.errno in _FULL), None)
    if full is not None:
        return DataError(
            f"{what}: cannot be kept: {full.strerror} ({full.filename or constants.HF_HOME}); make the cache larger, "
            "or delete what is old in it"
        )
    if any(isinstance(cause, OfflineModeIsEnabled) for cause in causes) or (is_offline() and _not_here(causes)):
        return TaskError(
            f"{what}: the data is not here, and no hub may be asked; give a bundle in VLLM_EVAL_DATA "
            "(`vllm-eval bundle` makes one), or let the hub be asked: HF_HUB_OFFLINE=0, in a stack evaluation.data.hub"
        )
    answered = next((found for cause in causes if (found := _answered(cause, what, source)) is not None), None)
    if answered is not None:
        return answered
    if any(_is_network(cause) for cause in causes):
        return DataError(f"{what}: {constants.ENDPOINT} cannot be reached: {causes[-1]}")
    return TaskError(f"{task}: lm_eval cannot load it: {describe(error)}")


def _answered(cause: BaseException, what: str, source: Source) -> VllmEvalError | None:
    """Make an error of the hub's answer; None if ``cause`` is no answer."""
    from huggingface_hub.constants import ENDPOINT
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    status = getattr(getattr(cause, "response", None), "status_code", None)
    if not isinstance(cause, HfHubHTTPError) or status is None:
        return None
    if status in {401, 403}:
        return TaskError(
            f"{what}: {ENDPOINT} does not give it to this token ({status}): the token is missing, has expired, or was "
            "not granted access to a gated data set; set HF_TOKEN to one that was"
        )
    if status == 404:
        kind = "repository" if isinstance(cause, RepositoryNotFoundError) else f"revision {source.revision!r}"
        return TaskError(f"{what}: {ENDPOINT} has no such {kind}; look at the name and at `revision`")
    return DataError(f"{what}: {ENDPOINT} answers {status}: {cause}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _not_here(causes: list[BaseException]) -> bool:
    return any(isinstance(cause, ConnectionError | FileNotFoundError) for cause in causes)


def _is_network(cause: BaseException) -> bool:
    module = type(cause).__module__.partition(".")[0]
    return isinstance(cause, ConnectionError | TimeoutError) or module in {"httpx", "httpx2", "httpcore", "requests"}
