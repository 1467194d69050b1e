"""Control requests that show whether a server's log-probabilities can be believed.

Twenty texts are echoed at the start and, in the opposite order, at the end of
a task's requests; between them, amid the load, the last token of each is asked
for by the other route. A sound server gives one number for one token, whatever
the route, the order and the load, and finds a sensible text likelier than its
words in another order.

What it finds are faults that HTTP 200 hides: prompt log-probabilities under
speculative decoding (vllm#53488), values that depend on the order with prefix
caching (vllm#42019), an ignored ``echo`` (llama.cpp#27174), a mode of
log-probabilities that is not raw, values of another place.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from vllm_eval.likelihood import Echo, FirstToken
from vllm_eval.requests import Answer, Failure, Request
from vllm_eval.tokens import Tokens

# Nats. Kernels for prompts and for generation round differently; the median of twenty does not drift by more.
AGREE: Final = 0.05
# A single value may: bfloat16 has steps of 0.06 at 10.
FAR: Final = 1.0
SANE_SHARE: Final = 0.75
TASK: Final = "control probe"
TEXTS: Final = (
    "The capital of France is Paris, and the capital of Italy is Rome.",
    "Water boils at one hundred degrees and freezes at zero degrees.",
    "She opened the door, looked into the dark room and turned on the light.",
    "There are seven days in a week and twelve months in a year.",
    "The train to the city leaves at nine in the morning and arrives at noon.",
    "He drank a cup of coffee, read the newspaper and went to work.",
    "One, two, three, four, five, six, seven, eight, nine, ten.",
    "The children played in the garden until it was time to go to bed.",
    "If you mix blue and yellow paint, you will get green paint.",
    "Please send me the report before the end of the day. Thank you very much.",
    "The sun rises in the east and sets in the west.",
    "It was raining all day, so we stayed at home and watched a movie.",
    "A cat has four legs, two ears and a long tail.",
    "The price of the book is ten dollars, but today it is only five dollars.",
    "My brother is two years older than I am, and my sister is younger.",
    "The doctor said that he should drink more water and sleep eight hours a night.",
    "import os\n\nfor name in os.listdir('.'):\n    print(name)\n",
    "대한민국의 수도는 서울이고, 일본의 수도는 도쿄이다.",
    "봄이 지나면 여름이 오고, 가을이 지나면 겨울이 온다.",
    "In the year 2024, the first month was January and the last month was December.",
)
_SEED: Final = 20
_ORDER: Final = "the same requests in another order give other numbers"
_ORDER_CAUSE: Final = "prefix caching or batching changes the values; serve with --no-enable-prefix-caching"


@dataclass
class Probe:
    """The control requests of one run of log-probability tasks."""

    model: str
    tokens: Tokens
    by_id: bool
    problems: list[str] = field(default_factory=list)
    echo_problem: str | None = None
    _start: dict[str, Answer] = field(default_factory=dict)
    _shuffled: dict[str, Answer] = field(default_factory=dict)

    def first(self) -> list[Request]:
        """Return the requests for the start."""
        return [self._echo(text, 0) for text in TEXTS] + [self._echo(shuffled(text), 0) for text in TEXTS]

    def began(self, answers: Mapping[str, Answer | Failure]) -> None:
        """Take the answers of :meth:`first`."""
        faults = [answer.reason for answer in answers.values() if isinstance(answer, Failure)]
        if faults:
            self.echo_problem = faults[0].partition(" attempts: ")[2] or faults[0]
            return
        for text in TEXTS:
            for found, asked in ((self._start, text), (self._shuffled, shuffled(text))):
                answer = answers[self._echo(asked, 0).key]
                assert isinstance(answer, Answer)  # noqa: S101 - for the type checker; failures are above
                found[text] = answer
        self._judge_tokens()
        sane = sum(sum(self._start[text].values or ()) > sum(self._shuffled[text].values or ()) for text in TEXTS)
        if sane < SANE_SHARE * len(TEXTS):
            self.problems.append(
                f"only {sane} of {len(TEXTS)} sensible texts are likelier than their words in another order: "
                "the values are of other places, or of another model"
            )

    def amid(self) -> list[Request]:
        """Return the requests to be put among the tasks' own: the last token of each text by the other route."""
        return [self._last(text, turn) for turn in (0, 1) for text in (TEXTS if turn == 0 else reversed(TEXTS))]

    def last(self) -> list[Request]:
        """Return the requests for the end: those of the start in the opposite order."""
        return [self._echo(text, 1) for text in reversed(TEXTS)]

    def ended(self, answers: Mapping[str, Answer | Failure]) -> None:
        """Take the answers of :meth:`amid` and, where the server echoes, :meth:`last`."""
        failed = next((answer for answer in answers.values() if isinstance(answer, Failure) and self.by_id), None)
        if failed is not None:
            self.problems.append(f"a control request got no answer: {failed.reason}")
            return
        # Without `by_id`, a last token that is not among the likeliest has no value.
        both = {text: [_values(answers[self._last(text, turn).key]) for turn in (0, 1)] for text in TEXTS}
        generated = {text: (first[0], second[0]) for text, (first, second) in both.items() if first and second}
        if len(generated) < len(TEXTS) / 4:
            self.problems.append(f"only {len(generated)} of {len(TEXTS)} control requests tell a value")
            return
        again = [one - other for one, other in generated.values()]
        if self.echo_problem is not None:
            self._compare(again, _ORDER, _ORDER_CAUSE)
            return
        echoed = [
            value - before
            for text in TEXTS
            for value, before in zip(_values(answers[self._echo(text, 1).key]), _values(self._start[text]), strict=True)
        ]
        self._compare(
            [first - _values(self._start[text])[-1] for text, (first, _) in generated.items()],
            "the two routes (echo, first token) give different numbers for the same token",
            "the server decodes speculatively, or --logprobs-mode is not raw_logprobs; without either, serve again",
        )
        self._compare(again + echoed, _ORDER, _ORDER_CAUSE)

    def _compare(self, differences: Sequence[float], what: str, cause: str) -> None:
        sizes = [abs(each) for each in differences]
        far = sum(size > FAR for size in sizes)
        if median(sizes) > AGREE or far > len(sizes) / 10:
            self.problems.append(
                f"{what}: {median(sizes):.3g} nats apart in the median, {max(sizes):.3g} at most; {cause}"
            )

    def _judge_tokens(self) -> None:
        """Hold the prompt's tokens, as the server echoes them, beside those that the ladder's step told."""
        told = self.tokens.encode(TEXTS, special=True)
        for text in TEXTS:
            got = self._start[text].ids or ()
            if got == told[text]:
                continue
            bos = self.tokens.bos
            twice = bool(bos) and got == bos + told[text]
            why = (
                f"BOS {list(bos)} stands twice before the prompt; the served tokenizer and template both add it"
                if twice
                else "the served model has another tokenizer"
            )
            self.problems.append(
                f"{text[:20]!r} has the tokens {list(got[:4])}… in a prompt and {list(told[text][:4])}… by "
                f"{self.tokens.step.name}: {why}"
            )
            return

    def _echo(self, text: str, turn: int) -> Request:
        wanted = Echo(start=max(1, len(self.tokens.bos)), recorded=False)
        payload = {"model": self.model, "prompt": text, **wanted.parameters()}
        return Request(TASK, TASK, TEXTS.index(text) if text in TEXTS else 0, turn, payload, wanted)

    def _last(self, text: str, turn: int) -> Request:
        ids = self.tokens.encode([text], special=True)[text]
        wanted = FirstToken((ids[-1],), (), by_id=self.by_id, recorded=False)
        payload = {"model": self.model, "prompt": list(ids[:-1]), **wanted.parameters()}
        return Request(TASK, TASK, TEXTS.index(text), turn, payload, wanted)


def _values(answer: Answer | Failure) -> tuple[float, ...]:
    return (answer.values or ()) if isinstance(answer, Answer) else ()


def shuffled(text: str) -> str:
    """Return the words of a text in another order, the same in each run."""
    words = text.split()
    mixed = random.Random(_SEED).sample(words, len(words))  # noqa: S311 - no secret
    return " ".join(mixed if any(one != other for one, other in zip(mixed, words, strict=True)) else words[::-1])
