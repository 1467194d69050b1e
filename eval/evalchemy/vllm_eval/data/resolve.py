"""Give tasks their items before anything is asked: from the bundle that is named, else from the hub."""

import importlib.metadata
import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from vllm_eval.data.bundle import Bundle
from vllm_eval.data.oci import Registry, is_reference, parse_reference
from vllm_eval.data.task_data import TaskData
from vllm_eval.errors import DataError, InfrastructureError, TaskError, VllmEvalError
from vllm_eval.offline import set_environment
from vllm_eval.storage import open_storage
from vllm_eval.tasks import Task

log = logging.getLogger(__name__)


def with_data(tasks: Sequence[Task], location: str) -> list[Task]:
    """Give every task that no local file serves its items, verified, and its hash.

    Parameters
    ----------
    location
        A bundle: a folder, an fsspec URL or ``oci://…``; empty: ask the hub.

    Raises
    ------
    TaskError
        With all tasks whose items are not to be had, or are not what the bundle says.
    DataError
        The same, if a later try may succeed for one of them.
    """
    wanting = [task for task in tasks if task.wants_data]
    if not wanting:
        return list(tasks)
    set_environment()
    given: dict[str, Task] = {}
    found: list[VllmEvalError] = []
    with opened_bundle(location) if location else nullcontext() as bundle:
        for task in wanting:
            try:
                given[task.name] = task.with_data(_data_of(task, bundle))
            except VllmEvalError as error:
                found.append(error)
    if found:
        # Faults of the infrastructure come first: a retry may cure them, and then shows whether others remain.
        kind = DataError if any(isinstance(error, InfrastructureError) for error in found) else TaskError
        raise kind("\n".join(dict.fromkeys(map(str, found))))
    for task in given.values():
        data = task.data
        if data is not None:
            origin = f"{data.repository}@{data.commit}" if data.repository else "its own source"
            log.info("%s: %d items of %s, data %s", task.name, len(data.items), origin, data.digest[:12])
    return [given.get(task.name, task) for task in tasks]


@contextmanager
def opened_bundle(location: str) -> Iterator[Bundle]:
    """Open the bundle that a folder, an fsspec URL or a registry has; an image is on disk until the end.

    Raises
    ------
    TaskError
        There is none, or it is of another version.
    DataError
        It cannot be reached.
    """
    version = importlib.metadata.version("lm_eval")
    if not is_reference(location):
        yield Bundle(open_storage(location), location, version)
        return
    reference = parse_reference(location)
    with tempfile.TemporaryDirectory(prefix="vllm-eval-data-") as folder:
        digest = Registry(reference).pull(Path(folder))
        log.info("%s: pulled %s", location, digest)
        yield Bundle(open_storage(folder), str(reference), version)


def _data_of(task: Task, bundle: Bundle | None) -> TaskData:
    if bundle is not None:
        data = bundle.data_of(task.name, task.settings.num_fewshot)
        if task.settings.revision not in {None, data.commit}:
            raise TaskError(
                f"{task.name}: revision is {task.settings.revision!r}, but the bundle {bundle.location} has "
                f"{data.commit}; make the bundle with that revision, or remove it"
            )
        return data
    from vllm_eval.data.hub import fetch

    return fetch(task)[0]
