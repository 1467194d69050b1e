"""The protocol between the runner and an engine."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from vllm_eval.models import Model
from vllm_eval.records import Cause, ChoicesRecord, Sample
from vllm_eval.relay import Relay
from vllm_eval.requests import NOT_ASKED, Answer, Failure, Request
from vllm_eval.speech import Speed, Thoughts, mean, quantiles
from vllm_eval.spool import Kept
from vllm_eval.tasks import Task
from vllm_eval.thoughts import Spoken

Ask = Callable[[Sequence[Request]], Mapping[str, Answer | Failure]]
Post = Callable[[str, Mapping[str, Any]], tuple[int, Any]]
OpenRelay = Callable[[Task], AbstractContextManager[Relay]]


@dataclass(frozen=True, kw_only=True)
class EngineJob:
    """What an engine gets.

    ``ask`` answers all given requests in one pool and returns them by
    ``Request.key``; it may be called several times, each time with requests of
    any tasks. ``relay`` is for an engine with a client of its own: it serves
    the model on loopback. ``deadline`` is in ``time.monotonic()`` seconds.
    ``post`` sends one body to a path of the server (:class:`ResponseKind`) and
    returns the status, 0 for no answer, and the body; None in a trial without a model,
    where ``right`` says whether the item's own target is to be the likeliest.
    """

    model: Model
    tasks: Sequence[Task]
    ask: Ask
    relay: OpenRelay
    seed: int
    deadline: float
    post: Post | None = None
    right: bool = False


@dataclass(frozen=True, kw_only=True)
class TaskOutcome:
    """What an engine found for one task; verification decides whether it is a score.

    ``metrics`` holds every number by (metric, filter), ``primary`` the one that
    is the task's score; ``samples`` are its single items, None when the engine
    cannot give them; ``answered`` counts the items that the score rests on,
    ``answers`` the answers (more, if a question is asked repeatedly), of which
    ``empty`` have no text (``only_thoughts`` of them, because nothing came
    after the model's thoughts) and ``truncated`` were cut by the token limit;
    ``expected`` those that the engine knows the task to have, after the limit;
    ``problems`` are reasons why there is no score, and ``cause`` whose they are.
    ``targets`` are the texts that answer an item right, by ``doc_id``, and
    ``untried`` says why such a text need not be scored 1 (None: it must be);
    ``validate`` reads both. ``choices`` is how log-probabilities were asked
    for: scores that were asked differently are not compared. ``choice_mass``
    is the mean probability of all choices of an item together, 0..1.
    ``samples`` holds ``repeats`` answers of each item, and ``inner`` what was
    thought before them, by ``doc_id`` and repeat.
    """

    metrics: Mapping[tuple[str, str], float] = field(default_factory=dict)
    stderrs: Mapping[tuple[str, str], float] = field(default_factory=dict)
    primary: tuple[str, str] | None = None
    samples: Sequence[Sample] | None = None
    answered: int = 0
    answers: int = 0
    expected: int | None = None
    empty: int = 0
    only_thoughts: int = 0
    truncated: int = 0
    problems: Sequence[str] = ()
    cause: Cause | None = None
    targets: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    untried: str | None = None
    choices: ChoicesRecord | None = None
    choice_mass: float | None = None
    repeats: int = 1
    thoughts: Thoughts | None = None
    speed: Speed | None = None
    inner: Mapping[tuple[int, int], Kept] = field(default_factory=dict)


def counted(outcome: TaskOutcome, answers: Sequence[Answer], spoken: Sequence[Spoken]) -> TaskOutcome:
    """Return the outcome with its answers counted; ``spoken`` is what is graded of each."""
    thought = [said.inner for said in spoken if said.inner is not None and not said.inner.blank]
    tokens = [answer.thought_tokens for answer in answers if answer.thought_tokens is not None]
    tagged = sum(said.tagged for said in spoken)
    unfinished = sum(said.only_thought and answer.truncated for answer, said in zip(answers, spoken, strict=True))
    thoughts = Thoughts(
        answers=len(thought), unfinished=unfinished, in_text=tagged,
        characters=sum(inner.characters for inner in thought), tokens=sum(tokens) if tokens else None,
    )  # fmt: skip
    return replace(
        outcome,
        answers=len(answers),
        empty=sum(said.empty for said in spoken),
        only_thoughts=sum(said.only_thought for said in spoken),
        # A stop that the runner looked for came before the cut: the server would have ended there.
        truncated=sum(answer.truncated and not said.stopped for answer, said in zip(answers, spoken, strict=True)),
        thoughts=thoughts if thought or tagged or unfinished else None,
        speed=Speed(
            request=quantiles(answer.seconds for answer in answers),
            first_token=quantiles(answer.first_token for answer in answers),
            between_tokens=quantiles(answer.between_tokens for answer in answers),
            tokens=mean([answer.tokens for answer in answers]),
        ),
    )


def unanswered(answers: Collection[Answer | Failure], expected: int) -> TaskOutcome | None:
    """Build the outcome of a task of which a request got no answer; None if all got one."""
    failures = [answer for answer in answers if isinstance(answer, Failure)]
    if not failures:
        return None
    reasons = Counter(answer.reason for answer in failures if not answer.reason.startswith(NOT_ASKED))
    shown = "; ".join(f"{reason} ({count} times)" if count > 1 else reason for reason, count in reasons.most_common(3))
    # A request that was not asked has the cause of the one because of which it was not.
    causes = {answer.cause for answer in failures if not answer.reason.startswith(NOT_ASKED)}
    return TaskOutcome(
        answered=len(answers) - len(failures),
        expected=expected,
        problems=[f"{len(failures)} of {len(answers)} requests got no answer: {shown}"],
        cause=next((cause for cause in ("endpoint", "input", "verification") if cause in causes), "endpoint"),
    )


class Engine(Protocol):
    """Runs tasks and reports what it found, good or bad."""

    name: str

    @property
    def version(self) -> str:
        """Version that scores depend on; a comparison across versions is not made."""

    def check(self, tasks: Sequence[Task], model: Model) -> list[str]:
        """Return what keeps these tasks from running, before the first request: unknown tasks, missing parts."""

    def warm_up(self) -> None:
        """Import what is slow; called in a thread while the endpoint is awaited."""

    def run(self, job: EngineJob) -> dict[str, TaskOutcome]:
        """Evaluate all tasks of the job.

        Raises
        ------
        vllm_eval.errors.VllmEvalError
            Nothing can be said about any task.
        """
