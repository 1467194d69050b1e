"""The record of a run: one JSON for the run, one compressed JSONL of answers for each task."""

import gzip
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from numbers import Real
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vllm_eval.errors import StorageError
from vllm_eval.storage import Storage
from vllm_eval.strict import whole_text

Finite = Annotated[float, Field(allow_inf_nan=False)]
Cause = Literal["verification", "endpoint", "input", "deadline"]


class Record(BaseModel):
    """Base of what is stored: unknown keys are ignored, so that an older version can read a newer file."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Score(Record):
    """A further metric of a task."""

    metric: str
    filter: str
    value: Finite


class StoredComparison(Record):
    """How a good score compares with the baseline that begins with ``baseline_run`` (None: there was none)."""

    verdict: str
    decisive: bool
    p_value: Finite | None
    baseline_mean: Finite | None
    baseline_run: str | None
    baseline_runs: int = 0
    reason: str


class DataRecord(Record):
    """Where a task's items came from, and their digest; no ``repository`` and ``commit`` where no hub has them."""

    repository: str
    commit: str
    config: str | None = None
    digest: str


class TaskResult(Record):
    """What one task of a run came to.

    ``score``, ``stderr`` and ``scores`` are None or empty unless ``good``;
    ``problems`` is empty if ``good``. ``cause`` says whose fault a failure is.
    Times are Unix seconds. ``data`` says where the items came from, None for
    those of local files.
    """

    task: str
    task_hash: str
    engine: str
    engine_version: str
    good: bool
    cause: Cause | None = None
    problems: tuple[str, ...] = ()
    metric: str = "exact_match"
    filter: str | None = None
    score: Annotated[float, Field(ge=0, le=1)] | None = None
    stderr: Finite | None = None
    samples: int = 0
    expected: int | None = None
    empty: int = 0
    truncated: int = 0
    scores: tuple[Score, ...] = ()
    paired: bool = False
    ended: Finite = 0.0
    comparison: StoredComparison | None = None
    data: DataRecord | None = None

    @property
    def final(self) -> bool:
        """Whether another attempt of the same run must leave this task alone."""
        return self.good or self.cause == "verification"


class RunResult(Record):
    """One run of one model. Times are Unix seconds; ``ended`` is None while it runs or after a kill.

    ``list_hash`` is that of the list of models under which the scores were
    last found to hold, and ``held_by`` the later run that found so.
    """

    schema_version: Literal[1] = 1
    run_id: str
    stack: str
    model: dict[str, str]
    git_commit: str = ""
    job_name: str = ""
    list_hash: str = ""
    held_by: str = ""
    started: Finite
    ended: Finite | None = None
    duration: Finite | None = None
    asked: int = 0
    taken_over: int = 0
    retries: int = 0
    requests_per_second: Finite | None = None
    served: tuple[str, ...] = ()
    failure: str | None = None
    tasks: dict[str, TaskResult] = {}

    @property
    def complete(self) -> bool:
        """Whether the run ended with every task good."""
        return self.ended is not None and bool(self.tasks) and all(task.good for task in self.tasks.values())


class Sample(Record):
    """One scored item: a line of the task's samples file.

    ``value`` is the item's share of the score, 1.0 or 0.0 for exact match.
    """

    item: str
    doc_id: int
    value: Finite
    prompt: str
    target: str
    answer: str | None
    judged: str
    finish_reason: str | None = None
    cluster: str | None = None


class ItemValues(Record):
    """The values of a task's items, and nothing else of them: what comparisons read of many runs."""

    items: tuple[str, ...]
    values: tuple[Finite, ...]
    clusters: tuple[str, ...] | None = None


def clusters_of(samples: Sequence[Sample]) -> tuple[str, ...] | None:
    """Return each item's cluster; an item that names none is one of its own. None if no item names one."""
    if all(sample.cluster is None for sample in samples):
        return None
    # The bar keeps an item's own cluster apart from a passage of that name.
    return tuple(f"|{sample.item}" if sample.cluster is None else sample.cluster for sample in samples)


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

    def save_samples(self, run: RunResult, task: str, samples: Sequence[Sample]) -> None:
        """Write one task's samples, and their values apart."""
        lines = "".join(sample.model_dump_json() + "\n" for sample in samples)
        self.storage.write(f"{self.folder(run)}/samples/{_name(task)}.jsonl.gz", _compressed(lines))
        values = ItemValues(
            items=tuple(sample.item for sample in samples),
            values=tuple(sample.value for sample in samples),
            clusters=clusters_of(samples),
        )
        self.storage.write(f"{self.folder(run)}/values/{_name(task)}.json.gz", _compressed(values.model_dump_json()))

    def samples(self, run: RunResult, task: str) -> list[Sample] | None:
        """Read one task's samples; None when the file is missing or damaged."""
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
        return f"runs/{_name(run.stack)}/{_name(run.model['name'])}/{_name(run.run_id)}"


def _parse_run(content: bytes) -> RunResult | None:
    try:
        return RunResult.model_validate_json(content)
    except ValidationError:
        return None


def _compressed(text: str) -> bytes:
    # mtime 0: equal samples make equal files. Level 3: the score waits for it.
    return gzip.compress(text.encode("utf-8", "surrogatepass"), compresslevel=3, mtime=0)


def _name(text: str) -> str:
    """Make any label value a file name, reversibly: ``/`` and a leading dot are encoded."""
    encoded = quote(text, safe="")
    if encoded.startswith("."):
        encoded = f"%2E{encoded[1:]}"
    if not encoded:
        raise StorageError("a stack, model and run need a name")
    return encoded


def rfc3339(seconds: float) -> str:
    """Format Unix seconds for people."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def finite(value: Any) -> float | None:  # noqa: ANN401 - engines return anything
    """Return ``value`` as a float if it is a finite number or a bool (also of numpy), else None."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if not isinstance(value, Real):
        return None
    return float(value) if math.isfinite(value) else None


def to_text(value: Any) -> str:  # noqa: ANN401 - targets and prompts may be of any JSON type
    """Return text as it is and everything else as JSON; what no file can hold, is replaced (:func:`whole_text`)."""
    return whole_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
