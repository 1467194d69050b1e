"""Log-probabilities of choices: requested by one route for each task, and checked before they become a score."""

import logging
import math
import random
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Final

from vllm_eval.generation import unsendable
from vllm_eval.likelihood import TOP, Echo, FirstToken
from vllm_eval.probe import AGREE, Probe
from vllm_eval.records import ChoicesRecord
from vllm_eval.requests import Answer, Failure, Request
from vllm_eval.splits import Pair, Single, Splitter
from vllm_eval.tokens import Ids, Tokens, TokensUnknownError

if TYPE_CHECKING:
    from vllm_eval.engines.base import EngineJob

log = logging.getLogger(__name__)

Place = tuple[int, int]
# Share of a task's requests that is repeated at the end, and its bounds.
AGAIN_SHARE: Final = 0.01
AGAIN_LEAST, AGAIN_MOST = 5, 200
# Largest share of items whose choices are all equally likely. With two choices, bfloat16's rounding makes some.
MOST_TIED: Final = {2: 0.25}
MOST_TIED_OF_MORE: Final = 0.01
# Below this, the prompt's format does not fit the model: it would say something else than any of the choices.
SMALL_MASS: Final = 0.1


@dataclass
class Choices:
    """What is known of one task's choices.

    ``values`` are (log-probability in nats, whether it is the likeliest), by
    (doc_id, index of the choice); ``merged`` counts choices whose first token
    spans the end of the context; ``mass`` is the mean probability of all
    choices of an item together, None by echo.
    """

    route: str = ""
    step: str = ""
    bos: Ids = ()
    values: dict[Place, tuple[float, bool]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    requests: int = 0
    merged: int = 0
    mass: float | None = None

    @property
    def record(self) -> ChoicesRecord | None:
        """How they were asked for; None before anything was asked."""
        return (
            ChoicesRecord(route=self.route, tokens=self.step, bos=self.bos, merged=self.merged) if self.route else None
        )


@dataclass(frozen=True)
class _Asked:
    """One request and the choices whose values it brings, in order."""

    request: Request
    places: tuple[Place, ...]


class ChoiceAsker:
    """Asks for all tasks of a job at once.

    Parameters
    ----------
    pairs
        Task name to its choices, as lm_eval splits context and continuation.
    hashes
        Task name to task hash.
    """

    def __init__(
        self, job: "EngineJob", tokens: Tokens, pairs: Mapping[str, Sequence[Pair]], hashes: Mapping[str, str]
    ) -> None:
        self._job = job
        self._pairs = pairs
        self._hashes = hashes
        self._tokens = tokens
        # A chat's own template has the special tokens.
        self._special = job.model.api != "chat"
        self._splitter = Splitter(tokens, special=self._special)
        self._by_id = _knows_ids(job)
        self._probe = Probe(job.model.asked_name, tokens, self._by_id)
        bos = tokens.bos if self._special else ()
        self.found = {name: Choices(step=tokens.step.name, bos=bos) for name in pairs}

    def ask(self) -> dict[str, Choices]:
        """Return the choices of each task; a task with implausible values has problems."""
        try:
            self._probe.began(self._job.ask(self._probe.first()))
            asked = {name: self._requests(name, pairs) for name, pairs in self._pairs.items()}
            answers = self._answers([each.request for its in asked.values() for each in its])
            read = {name: self._read(name, its, answers) for name, its in asked.items()}
            self._again({name: its for name, its in read.items() if self.found[name].values}, answers)
        except TokensUnknownError as error:
            self._probe.problems.append(str(error))
        for choices in self.found.values():
            choices.problems += self._probe.problems
        return self.found

    def _requests(self, name: str, pairs: Sequence[Pair]) -> list[_Asked]:
        choices = self.found[name]
        problem = next((each for pair in pairs if (each := self._unfit(pair, choices.bos))), None)
        if problem is not None:
            choices.problems.append(problem)
            return []
        single = self._splitter.single(pairs)
        if single is not None:
            choices.route = "first token"
            return self._first_tokens(name, pairs, single)
        choices.route = "echo"
        if self._probe.echo_problem is not None:
            choices.problems.append(
                f"choices of several tokens need the log-probabilities of a prompt: {self._probe.echo_problem}; "
                "serve the model with vLLM, without speculative decoding"
            )
            return []
        return self._echoes(name, pairs)

    def _unfit(self, pair: Pair, bos: Ids) -> str | None:
        where = f"item {pair.place[0]}"
        if not pair.continuation:
            return f"{where}: choice {pair.place[1]} is empty, and an empty text has no probability"
        if not pair.context and not bos:
            return f"{where}: its context is empty, and the model has no BOS token to stand there"
        problem = unsendable(pair.context + pair.continuation)
        return f"{where}: {problem}" if problem is not None else None

    def _first_tokens(self, name: str, pairs: Sequence[Pair], single: Single) -> list[_Asked]:
        """Build one request for all choices behind one context."""
        behind: dict[tuple[int, str], list[Place]] = defaultdict(list)
        for pair in pairs:
            behind[pair.place[0], pair.context].append(pair.place)
        return [
            self._asked(
                name, context, places,
                FirstToken(tuple(single.ids[place] for place in places), single.tails.get(context, ()), self._by_id),
            )
            for (_, context), places in behind.items()
        ]  # fmt: skip

    def _echoes(self, name: str, pairs: Sequence[Pair]) -> list[_Asked]:
        contexts = {context: array("l", ids) for context, ids in self._splitter.contexts(pairs).items()}
        return [
            self._asked(
                name, pair.context + pair.continuation, [pair.place],
                Echo(len(contexts[pair.context]), contexts[pair.context]),
            )
            for pair in pairs
        ]  # fmt: skip

    def _asked(self, name: str, prompt: str, places: Sequence[Place], wanted: FirstToken | Echo) -> _Asked:
        asked: str | list[int] = prompt
        if self._tokens.local:
            # Such a server need not tell which ids it makes of a text.
            asked = list(self._tokens.encode([prompt], special=self._special)[prompt])
        body = {"model": self._job.model.asked_name, "prompt": asked, **wanted.parameters()}
        if not self._special:
            body["add_special_tokens"] = False
        return _Asked(Request(name, self._hashes[name], places[0][0], 0, body, wanted), tuple(places))

    def _answers(self, requests: Sequence[Request]) -> dict[str, Answer | Failure]:
        """Ask all tasks' requests with the control requests among them, and then those of the end."""
        if not requests:
            return {}
        control = self._probe.amid()
        last = self._probe.last() if self._probe.echo_problem is None else []
        answers = dict(self._job.ask(_among(requests, control)))
        answers.update(self._job.ask(last))
        self._probe.ended({each.key: answers[each.key] for each in (*control, *last)})
        return answers

    def _read(self, name: str, asked: Sequence[_Asked], answers: dict[str, Answer | Failure]) -> Sequence[_Asked]:
        """Take the values; return the requests that they are of, whose answers are among ``answers``."""
        choices = self.found[name]
        unique = {each.request.key: answers[each.request.key] for each in asked}
        choices.requests += len(unique)
        choices.failures = [each for each in unique.values() if isinstance(each, Failure)]
        if choices.failures or not asked:
            return ()
        if any(answer.values is None for answer in unique.values() if isinstance(answer, Answer)):
            return self._read_whole(name, answers)
        masses = []
        for each in asked:
            answer, wanted = unique[each.request.key], each.request.wanted
            assert isinstance(answer, Answer)  # noqa: S101 - for the type checker; failures are above
            values, greedy = answer.values or (), answer.greedy or ()
            if isinstance(wanted, FirstToken):
                choices.values.update(zip(each.places, zip(values, greedy, strict=True), strict=True))
                masses.append(sum(math.exp(value) for value in dict(zip(wanted.ids, values, strict=True)).values()))
            else:
                choices.values[each.places[0]] = math.fsum(values), all(greedy)
                choices.merged += answer.text == "merged"
        if masses:
            choices.mass = sum(masses) / len(masses)
            if choices.mass < SMALL_MASS:
                log.warning(
                    "task %s: all choices of an item together have a probability of %.2g: the model wants to say "
                    "something else, and the prompt's format (its end, a space before the choice) does not fit it",
                    name, choices.mass,
                )  # fmt: skip
            if choices.mass > 1 + AGREE:
                choices.problems.append(
                    f"the choices of an item have a probability of {choices.mass:.3g} together, more than 1: "
                    "the values are no log-probabilities; start vLLM with --logprobs-mode raw_logprobs"
                )
        choices.problems += _ties(choices.values)
        return asked

    def _read_whole(self, name: str, answers: dict[str, Answer | Failure]) -> Sequence[_Asked]:
        """Ask anew where a prompt does not end with the tokens of its last line, from the whole contexts."""
        single = self._splitter.single_by_whole(self._pairs[name])
        if single is None:
            self.found[name].problems.append(
                "some choices are one token and others several, depending on what stands before the last line; "
                "end the prompt with a line of its own, such as 'Answer:'"
            )
            return ()
        asked = self._first_tokens(name, self._pairs[name], single)
        answers.update(self._job.ask([each.request for each in asked]))
        return self._read(name, asked, answers)

    def _again(self, asked: Mapping[str, Sequence[_Asked]], answers: Mapping[str, Answer | Failure]) -> None:
        """Repeat a few requests of each task: values that change with the load are not trustworthy."""
        chosen = {name: _some(its) for name, its in asked.items()}
        again = {each.request.key: _repeated(each.request) for its in chosen.values() for each in its}
        second = self._job.ask(list(again.values()))
        for name, its in chosen.items():
            pairs = [(answers[each.request.key], second[again[each.request.key].key]) for each in its]
            self.found[name].problems += _unsteady(pairs)


def _knows_ids(job: "EngineJob") -> bool:
    """Whether the server tells the log-probabilities of ids that are named."""
    wanted = FirstToken((1, 2), (), by_id=True)
    body = {"model": job.model.asked_name, "prompt": "Seoul", **wanted.parameters()}
    status, answer = job.post(wanted.path, body) if job.post is not None else (0, None)
    if status != 200 or not isinstance(answer, dict):
        return True  # the requests themselves will tell
    try:
        told = answer["choices"][0]["logprobs"]["top_logprobs"][0]
    except (LookupError, TypeError):
        return True
    if not {"token_id:1", "token_id:2"} & told.keys():
        log.info("the server does not tell the log-probabilities of given ids; its %d likeliest are asked for", TOP)
        return False
    return True


def _among(requests: Sequence[Request], control: Sequence[Request]) -> list[Request]:
    """Spread the control requests evenly; equal requests stand once."""
    every = list({request.key: request for request in requests}.values())
    step = len(every) / (len(control) + 1)
    for number, request in enumerate(control, 1):
        every.insert(round(number * step) + number - 1, request)
    return every


def _some(asked: Sequence[_Asked]) -> list[_Asked]:
    count = min(len(asked), max(AGAIN_LEAST, min(AGAIN_MOST, round(AGAIN_SHARE * len(asked)))))
    return random.Random(len(asked)).sample(list(asked), count)  # noqa: S311 - no secret


def _repeated(request: Request) -> Request:
    # Answers with this key are not recorded, so a later attempt asks again as well.
    wanted = request.wanted
    if isinstance(wanted, FirstToken):
        wanted = FirstToken(wanted.ids, wanted.tail, wanted.by_id, recorded=False)
    elif isinstance(wanted, Echo):
        wanted = Echo(wanted.start, wanted.before, recorded=False)
    return Request(request.task, request.task_hash, request.doc_id, 1, request.payload, wanted)


def _unsteady(pairs: Iterable[tuple[Answer | Failure, Answer | Failure]]) -> list[str]:
    """Say whether values changed when they were asked for again."""
    differences = [
        abs(one - other)
        for first, second in pairs
        if isinstance(first, Answer) and isinstance(second, Answer)
        for one, other in zip(first.values or (), second.values or (), strict=True)
    ]
    if differences and median(differences) > AGREE:
        apart = f"asked again, the log-probabilities are {median(differences):.3g} nats apart in the median"
        cure = "they depend on what else the server does; serve with --no-enable-prefix-caching"
        return [f"{apart}: {cure}, without speculative decoding"]
    return []


def _ties(values: Mapping[Place, tuple[float, bool]]) -> list[str]:
    """Say whether too many items have choices that are all equally likely: the symptom of a constant."""
    of_item: dict[int, list[float]] = defaultdict(list)
    for (doc_id, _), (value, _) in values.items():
        of_item[doc_id].append(value)
    found = []
    for several in sorted({min(len(its), 3) for its in of_item.values() if len(its) > 1}):
        its = [each for each in of_item.values() if min(len(each), 3) == several]
        tied = sum(len(set(each)) == 1 for each in its)
        if tied > MOST_TIED.get(several, MOST_TIED_OF_MORE) * len(its):
            found.append(
                f"{tied} of {len(its)} items have choices that are all equally likely: the server gives a constant "
                "in the place of log-probabilities (as one does that ignores `echo`)"
            )
    return found
