"""The record of a run: one JSON for the run, one compressed JSONL of answers for each task."""

import gzip
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from numbers import Real
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote

from pydantic import Field, ValidationError

from vllm_eval.errors import StorageError
from vllm_eval.reasons import WHY, Facts
from vllm_eval.speech import Finite, Record, Speed, Thoughts
from vllm_eval.spool import Kept
from vllm_eval.storage import Storage
from vllm_eval.strict import whole_text

Cause = Literal["verification", "endpoint", "input", "deadline"]


class Score(Record):
    """A further metric of a task."""

    metric: str
    filter: str
    value: Finite


class LeafChange(Record):
    """One leaf of a group against the group's baseline; ``p_value`` is one-sided, of "worse", of this leaf alone."""

    leaf: str
    score: Finite
    baseline_mean: Finite
    samples: int
    p_value: Finite | None = None


class StoredComparison(Record):
    """How a good score compares with the baseline that begins with ``baseline_run`` (None: there was none).

    ``reason`` is the sentence that ``facts`` make in English; older records lack the facts. ``leaves`` are
    those of a group, in the group's order.
    """

    verdict: str
    decisive: bool
    p_value: Finite | None
    baseline_mean: Finite | None
    baseline_run: str | None
    baseline_runs: int = 0
    reason: str
    facts: Facts | None = None
    leaves: tuple[LeafChange, ...] = ()

    def reason_in(self, translate: Callable[[str], str]) -> str:
        """Return the reason in another language; in English where only an older or a newer version knows it."""
        return self.facts.sentence(translate) if self.facts is not None and self.facts.code in WHY else self.reason


class DataRecord(Record):
    """Where a task's items came from, and their digest; no ``repository`` and ``commit`` where no hub has them."""

    repository: str
    commit: str
    config: str | None = None
    digest: str


class ChoicesRecord(Record):
    """How the log-probabilities of a task's choices were asked for.

    ``route`` is "first token" or "echo"; ``tokens`` names what told the tokens
    of a text: "/tokenize", "return_token_ids" or "folder"; ``bos`` are the ids
    that the server puts before a prompt; ``merged`` counts choices whose first
    token spans the end of their context.
    """

    route: str
    tokens: str
    bos: tuple[int, ...] = ()
    merged: int = 0

    @property
    def asked(self) -> str:
        """What must be equal for two scores to mean the same."""
        return f"{self.route}, BOS {' '.join(map(str, self.bos)) or 'none'}"


class TaskResult(Record):
    """What one task of a run came to.

    ``score``, ``stderr`` and ``scores`` are None or empty unless ``good``;
    ``problems`` is empty if ``good``. ``cause`` says whose fault a failure is.
    ``samples`` counts items, each of which was asked ``repeats`` times, with
    the settings ``generation`` (of lm_eval's own tasks, without their YAML's).
    Times are Unix seconds. ``leaves`` are the tasks of a group, whose results
    the run holds too; ``by_leaf`` says that the score is the mean of their
    scores and not of their items; ``leaf_series`` that they are published.
    ``data`` says where the items came from, None for those of local files;
    ``choices`` how log-probabilities were asked for, None where none were.
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
    choice_mass: Annotated[float, Field(ge=0)] | None = None
    choices: ChoicesRecord | None = None
    repeats: int = 1
    thoughts: Thoughts | None = None
    answers: int = 0
    speed: Speed | None = None
    generation: dict[str, Any] = Field({})
    leaves: tuple[str, ...] = ()
    by_leaf: bool = False
    leaf_series: bool = False
    data: DataRecord | None = None

    @property
    def final(self) -> bool:
        """Whether another attempt of the same run must leave this task alone."""
        return self.good or self.cause == "verification"


class RunResult(Record):
    """One run of one model. Times are Unix seconds; ``ended`` is None while it runs or after a kill.

    ``list_hash`` is that of the list of models under which the scores were
    last found to hold, and ``held_by`` the later run that found so. ``tasks``
    has what the configuration names, ``leaves`` the groups' tasks that it does
    not name.
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
    tasks: dict[str, TaskResult] = Field({})
    output_tokens_per_second: Finite | None = None
    leaves: dict[str, TaskResult] = Field({})

    @property
    def asked_tasks(self) -> dict[str, TaskResult]:
        """The tasks whose items were asked: leaves too, groups not."""
        return {**self.leaves, **{name: task for name, task in self.tasks.items() if not task.leaves}}

    @property
    def complete(self) -> bool:
        """Whether the run ended with every task good."""
        return self.ended is not None and bool(self.tasks) and all(task.good for task in self.tasks.values())


class Sample(Record):
    """One scored answer: a line of the task's samples file.

    ``value`` is its share of the item's score, 1.0 or 0.0 for exact match;
    ``repeat`` numbers the answers to one item, from 0. ``tokens`` counts the
    generated tokens, those of the thought among them, by the server's word.
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
    repeat: int = 0
    tokens: int | None = None


class Thought(Record):
    """What was thought before an answer: a line of the task's thoughts file. It is never graded."""

    item: str
    repeat: int
    thought: str


class ItemValues(Record):
    """The values of a task's items, and nothing else of them: what comparisons read of many runs.

    An item's value is the mean of its ``samples`` answers.
    """

    items: tuple[str, ...]
    values: tuple[Finite, ...]
    clusters: tuple[str, ...] | None = None
    samples: int = 1

    def counts(self) -> list[int] | None:
        """Return how many of each item's answers are right; None if one is neither right nor wrong."""
        counts = [round(value * self.samples) for value in self.values]
        whole = all(
            0 <= count <= self.samples and math.isclose(value * self.samples, count, abs_tol=1e-6)
            for value, count in zip(self.values, counts, strict=True)
        )
        return counts if whole else None


def item_values(samples: Sequence[Sample]) -> ItemValues:
    """Take the items' values out of the answers; each item has as many answers as the first."""
    values: dict[str, list[float]] = {}
    clusters: dict[str, str | None] = {}
    for sample in samples:
        values.setdefault(sample.item, []).append(sample.value)
        clusters.setdefault(sample.item, sample.cluster)
    return ItemValues(
        items=tuple(values),
        values=tuple(math.fsum(of_item) / len(of_item) for of_item in values.values()),
        clusters=_own_clusters(clusters),
        samples=len(next(iter(values.values()), [0.0])),
    )


def _own_clusters(named: Mapping[str, str | None]) -> tuple[str, ...] | None:
    """Return each item's cluster; an item that names none is one of its own. None if no item names one."""
    if all(cluster is None for cluster in named.values()):
        return None
    # The bar keeps an item's own cluster apart from a passage of that name.
    return tuple(f"|{item}" if cluster is None else cluster for item, cluster in named.items())


def leaf_item(leaf: str, item: str) -> str:
    """Name an item, or a cluster, of a leaf among those of its group; an item's own name has no slash."""
    return f"{leaf}/{item}"


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
