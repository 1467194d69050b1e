"""Make a bundle on a machine that reaches the hub: each task's items, its few-shot items, and the manifest."""

import importlib.metadata
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from vllm_eval import catalog
from vllm_eval.config import TaskSettings
from vllm_eval.data.bundle import MANIFEST, BundledTask, File, Manifest
from vllm_eval.data.hub import fetch
from vllm_eval.data.oci import Registry, is_reference, parse_reference
from vllm_eval.data.task_data import sha256, to_lines
from vllm_eval.errors import InfrastructureError, TaskError, VllmEvalError
from vllm_eval.items import Item
from vllm_eval.storage import open_storage
from vllm_eval.tasks import Task, index_folder, load_tasks

log = logging.getLogger(__name__)

# Reasons that no bundle can cure: such a task does not run here, whatever its data.
_HOPELESS = frozenset({catalog.Reason.UNKNOWN, catalog.Reason.CLASS, catalog.Reason.PACKAGE, catalog.Reason.MEDIA})


@dataclass
class _Made:
    tasks: dict[str, BundledTask] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)


def make_bundle(
    names: Sequence[str], folder: Path, *, all_fewshot: bool, revisions: Mapping[str, str]
) -> tuple[Manifest, dict[str, bytes]]:
    """Fetch tasks and return the manifest and every file's content, the manifest's among them.

    Parameters
    ----------
    names
        Tasks, groups and tags.
    folder
        Tasks of the user's own, whose data a hub has.
    all_fewshot
        Take few-shot items of tasks too that ask no examples by themselves.
    revisions
        Task to the revision of its data; the newest for all others.

    Raises
    ------
    TaskError, DataError
        With everything that kept a task out; there is no bundle then.
    """
    wanted = expand(names, folder, revisions)
    made = _Made()
    found: list[VllmEvalError] = []
    for task in load_tasks(wanted, folder, limit=None, api="completions"):
        try:
            if not task.wants_data:
                raise TaskError(f"{task.name}: its items are in local files, which need no bundle")
            _add(made, task, all_fewshot=all_fewshot)
        except VllmEvalError as error:
            found.append(error)
    if found:
        worst = next((error for error in found if isinstance(error, InfrastructureError)), found[0])
        raise type(worst)("\n".join(dict.fromkeys(map(str, found))))
    manifest = Manifest(
        lm_eval=importlib.metadata.version("lm_eval"),
        tasks=made.tasks,
        files=made.files,
    )
    return manifest, {**made.contents, MANIFEST: manifest.to_bytes()}


def expand(names: Sequence[str], folder: Path, revisions: Mapping[str, str]) -> dict[str, TaskSettings]:
    """Return the settings of every task that the names mean, by name.

    Raises
    ------
    TaskError
        With all names that mean nothing, or that no data can make run.
    """
    own, _ = index_folder(folder)
    wanted: dict[str, TaskSettings] = {}
    found: list[str] = []
    for name in names:
        known = name in own or name in catalog.manager().task_index
        if not known:
            found.append(
                f"{name}: is neither in the tasks folder nor a task, group or tag of lm_eval's{catalog.near(name)}"
            )
        for leaf in [name] if name in own else catalog.members(name) if known else []:
            refusal = None if leaf in own else catalog.refuse(leaf, catalog.DEFAULT_METRIC)
            if refusal is not None and refusal.reason in _HOPELESS:
                found.append(f"{leaf}: {refusal.text}")
            wanted[leaf] = TaskSettings(enabled=True, revision=revisions.get(leaf, revisions.get(name)))
    unused = sorted(set(revisions) - set(names) - set(wanted))
    found += [f"{name}: a revision is given for it, but it is not among the tasks" for name in unused]
    if found:
        raise TaskError.of("bundle", found)
    return wanted


def _add(made: _Made, task: Task, *, all_fewshot: bool) -> None:
    from vllm_eval.engines.lm_eval_data import take

    data, source, found = fetch(task)
    taken = take(data.loaded, all_fewshot=all_fewshot)
    base = f"tasks/{quote(task.name, safe='')}"

    def write(path: str, items: Sequence[Item]) -> str:
        content = to_lines(items, task.name)
        made.contents[path] = content
        made.files[path] = File(sha256=sha256(content), size=len(content), items=len(items))
        return path

    split = quote(taken.split, safe="")
    fewshot = None
    if taken.fewshot is not None:
        fewshot = write(f"{base}/fewshot-{quote(str(taken.fewshot_split), safe='')}.jsonl", taken.fewshot)
    made.tasks[task.name] = BundledTask(
        repository=source.repository,
        commit=found.commit,
        config=source.config,
        licence=found.licence,
        gated=found.gated,
        split=taken.split,
        items=write(f"{base}/{split}.jsonl", taken.items),
        num_fewshot=taken.num_fewshot,
        fewshot_split=taken.fewshot_split,
        fewshot=fewshot,
    )
    log.info("%s: %d items, %s@%s", task.name, len(taken.items), source.repository, found.commit[:12])


def store(contents: Mapping[str, bytes], out: str) -> str:
    """Write a bundle to a folder, a bucket or a registry, and return where it is; the manifest comes last.

    Raises
    ------
    StorageError, DataError, TaskError
        It cannot be written, or something else is there.
    """
    if is_reference(out):
        reference = parse_reference(out)
        return str(replace(reference, digest=Registry(reference).push(contents)))
    storage = open_storage(out)
    # A manifest is there only when all that it names is.
    for path in sorted(contents, key=lambda path: (path == MANIFEST, path)):
        storage.write(path, contents[path])
    return out
