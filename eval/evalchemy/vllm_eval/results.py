"""The store of runs: one JSON for the run, one compressed JSONL of answers for each task."""

import gzip
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote, unquote

from pydantic import ValidationError

from vllm_eval.errors import StorageError
from vllm_eval.records import ItemValues, RunResult, Sample, Thought, item_values, leaf_item
from vllm_eval.spool import Kept
from vllm_eval.storage import Storage


class ResultStore:
    """Runs of one storage.

    In ``runs/<stack>/<model>/<run>/``: ``result.json``, and for each task
    ``samples/<task>.jsonl.gz`` and, smaller, ``values/<task>.json.gz``.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        # Ended runs by path. They change only by this process, or to record
        # that their scores hold for a longer list of models.
        self._ended: dict[str, RunResult] = {}

    def save(self, run: RunResult) -> None:
        """Write the run's record atomically."""
        path = f"{self.folder(run)}/result.json"
        self.storage.write(path, run.model_dump_json(indent=1).encode() + b"\n")
        self._ended.pop(path, None)

    def save_samples(
        self, run: RunResult, task: str, samples: Sequence[Sample], inner: Mapping[tuple[int, int], Kept]
    ) -> None:
        """Write one task's samples; their values and their thoughts (by ``doc_id`` and repeat) apart."""
        lines = (sample.model_dump_json() for sample in samples)
        self.storage.write(f"{self.folder(run)}/samples/{_name(task)}.jsonl.gz", _compressed(lines))
        self.save_values(run, task, item_values(samples))
        if inner:
            found = ((sample, inner.get((sample.doc_id, sample.repeat))) for sample in samples)
            thoughts = (
                Thought(item=sample.item, repeat=sample.repeat, thought=kept.text).model_dump_json()
                for sample, kept in found
                if kept is not None
            )
            self.storage.write(f"{self.folder(run)}/thoughts/{_name(task)}.jsonl.gz", _compressed(thoughts))

    def save_values(self, run: RunResult, task: str, values: ItemValues) -> None:
        """Write the values of one task's items; of a group, its leaves' together."""
        self.storage.write(f"{self.folder(run)}/values/{_name(task)}.json.gz", _compressed([values.model_dump_json()]))

    def thoughts(self, run: RunResult, task: str) -> Iterator[Thought]:
        """Read what was thought before one task's answers, one after the other; nothing where nothing is stored."""
        for leaf in run.tasks[task].leaves if task in run.tasks else ():
            for thought in self.thoughts(run, leaf):
                yield thought.model_copy(update={"item": leaf_item(leaf, thought.item)})
        content = self.storage.read(f"{self.folder(run)}/thoughts/{_name(task)}.jsonl.gz")
        if content is not None:
            with gzip.open(io.BytesIO(content)) as file:
                yield from map(Thought.model_validate_json, file)

    def samples(self, run: RunResult, task: str) -> list[Sample] | None:
        """Read one task's samples, or those of a group's leaves; None when a file is missing or damaged."""
        result = run.tasks.get(task)
        if result is not None and result.leaves:
            parts = {leaf: self.samples(run, leaf) for leaf in result.leaves}
            return [
                sample.model_copy(update={"item": leaf_item(leaf, sample.item)})
                for leaf, part in parts.items()
                for sample in part or ()
            ] if all(part is not None for part in parts.values()) else None  # fmt: skip
        content = self.storage.read(f"{self.folder(run)}/samples/{_name(task)}.jsonl.gz")
        if content is None:
            return None
        try:
            lines = gzip.decompress(content).splitlines()
            return [Sample.model_validate_json(line) for line in lines]
        except (OSError, EOFError, ValidationError):
            return None

    def item_values(self, run: RunResult, task: str) -> ItemValues | None:
        """Read the values of one task's items; None when the file is missing or damaged."""
        content = self.storage.read(f"{self.folder(run)}/values/{_name(task)}.json.gz")
        if content is None:
            return None
        try:
            return ItemValues.model_validate_json(gzip.decompress(content))
        except (OSError, EOFError, ValidationError):
            return None

    def load(self, stack: str, model: str, run_id: str) -> RunResult | None:
        """Read one run; None when there is none or its record is damaged."""
        content = self.storage.read(f"runs/{_name(stack)}/{_name(model)}/{_name(run_id)}/result.json")
        return _parse_run(content) if content is not None else None

    def runs(self, stack: str, model: str) -> list[RunResult]:
        """Read all runs of a model, by recorded start; damaged records are left out."""
        folder = f"runs/{_name(stack)}/{_name(model)}"
        paths = [f"{folder}/{name}/result.json" for name in self.storage.list(folder)]
        for path, content in self.storage.read_many([path for path in paths if path not in self._ended]).items():
            run = _parse_run(content)
            if run is not None:
                self._ended[path] = run
        runs = [self._ended[path] for path in paths if path in self._ended]
        for path in paths:
            if path in self._ended and self._ended[path].ended is None:
                del self._ended[path]
        return sorted(runs, key=lambda run: (run.started, run.run_id))

    def models(self, stack: str) -> list[str]:
        """Names of all models that ever had a run in this stack."""
        return [unquote(name) for name in self.storage.list(f"runs/{_name(stack)}")]

    def delete(self, run: RunResult) -> None:
        """Remove a run with its samples."""
        self.storage.delete(self.folder(run))
        self._ended.pop(f"{self.folder(run)}/result.json", None)

    def folder(self, run: RunResult) -> str:
        """Return the run's folder."""
        return run_folder(run.stack, run.model["name"], run.run_id)


def run_folder(stack: str, model: str, run_id: str) -> str:
    """Return where a run lies in the results folder."""
    return f"runs/{_name(stack)}/{_name(model)}/{_name(run_id)}"


def _parse_run(content: bytes) -> RunResult | None:
    try:
        return RunResult.model_validate_json(content)
    except ValidationError:
        return None


def _compressed(lines: Iterable[str]) -> bytes:
    """Return lines, each with its end, as gzip; they are never in memory together."""
    content = io.BytesIO()
    # mtime 0: equal samples make equal files. Level 3: the score waits for it.
    with gzip.GzipFile(fileobj=content, mode="wb", compresslevel=3, mtime=0) as file:
        for line in lines:
            file.write(f"{line}\n".encode("utf-8", "surrogatepass"))
    return content.getvalue()


def _name(text: str) -> str:
    """Make any label value a file name, reversibly: ``/`` and a leading dot are encoded."""
    encoded = quote(text, safe="")
    if encoded.startswith("."):
        encoded = f"%2E{encoded[1:]}"
    if not encoded:
        raise StorageError("a stack, model and run need a name")
    return encoded
