"""What is recorded of a run, its tasks and their answers; how values become parts of records, and times text."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from numbers import Real
from typing import Annotated, Any, Literal

from pydantic import Field

from vllm_eval.reasons import WHY, Facts
from vllm_eval.speech import Finite, Record, Speed, Thoughts
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
