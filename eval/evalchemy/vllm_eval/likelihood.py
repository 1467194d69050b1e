"""Log-probabilities over HTTP: what is sent, and whether a response holds what was asked for.

Two routes give the same number, log P(token | what stands before it), in nats:

- *first token*: the server generates one token and tells what it thought of
  given others at this place (vLLM's ``logprob_token_ids``, or the list of the
  likeliest). One request an item; the prefix cache is used.
- *echo*: the server tells what it thought of the tokens of the prompt. One
  request a choice.

Nothing of a response is believed that the response itself does not show: ids,
their number, their order, finite values that are no larger than 0.
"""

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vllm_eval.requests import Answer

# With `return_tokens_as_token_ids`, vLLM names a token by its number.
_PREFIX: Final = "token_id:"
# The list of the likeliest tokens that vLLM gives without --max-logprobs.
TOP: Final = 20
# A log-probability above 0 by no more than this is rounding.
_ROUNDING: Final = 1e-4
# Values that servers put in place of unknown log-probabilities.
_FILLERS: Final = frozenset({-9999.0, -1000.0, -100.0})
NO_IDS: Final = (
    "the server tells no token ids (`return_token_ids`), without which nobody can know which tokens its "
    "log-probabilities are of; serve the model with vLLM 0.11 or later"
)


@dataclass(frozen=True)
class Tokenize:
    """The tokens of a text or of a chat, by the server's ``/tokenize``."""

    path = "/tokenize"
    key = "tokenize"
    recorded = False
    heavy = False

    def read(self, body: Mapping[str, Any]) -> Answer | str:
        """Return the ids."""
        return _ids_only(body["tokens"])


@dataclass(frozen=True)
class Detokenize:
    """The text of tokens, by the server's ``/detokenize``."""

    path = "/detokenize"
    key = "detokenize"
    recorded = False
    heavy = False

    def read(self, body: Mapping[str, Any]) -> Answer | str:
        """Return the text."""
        return Answer(text=str(body["prompt"]), finish_reason=None, served=None)


@dataclass(frozen=True)
class PromptIds:
    """The tokens of a prompt, as a completion of one token tells them."""

    path = "completions"
    key = "prompt ids"
    recorded = False
    heavy = False

    def read(self, body: Mapping[str, Any]) -> Answer | str:
        """Return the ids."""
        found = _prompt_ids(body["choices"][0])
        return NO_IDS if found is None else _ids_only(found)


@dataclass(frozen=True)
class FirstToken:
    """What the model thinks of each of ``ids`` as the next token.

    ``tail`` are the tokens that the prompt must end with: those of its last
    line, behind which the ids were found. ``by_id``: the ids are asked for;
    else each must stand in the list of the likeliest.
    """

    ids: tuple[int, ...]
    tail: tuple[int, ...]
    by_id: bool
    recorded: bool = True
    path = "completions"
    heavy = False

    @property
    def key(self) -> str:
        """The ids are not all in the body where the list of the likeliest is asked for."""
        return f"first token {self.ids} after {self.tail}"

    def parameters(self) -> dict[str, Any]:
        """Return what a body needs besides model and prompt."""
        asked = {"logprobs": 1, "logprob_token_ids": sorted(set(self.ids))} if self.by_id else {"logprobs": TOP}
        return {**_COMMON, **asked}

    def read(self, body: Mapping[str, Any]) -> Answer | str:
        """Return a value for each id; no values where the prompt does not end with the tail."""
        choice = body["choices"][0]
        prompt = _prompt_ids(choice)
        generated = _generated(choice)
        if generated is None or (prompt is None and self.tail):
            return NO_IDS
        if prompt is not None and tuple(prompt[len(prompt) - len(self.tail) :]) != self.tail:
            return Answer(text=None, finish_reason=None, served=_served(body))
        table = _by_id(choice["logprobs"]["top_logprobs"][0])
        problem = table if isinstance(table, str) else self._problem(table, generated)
        if problem is not None or isinstance(table, str):
            return problem or NO_IDS
        return Answer(
            text=None, finish_reason=None, served=_served(body), values=tuple(table[token] for token in self.ids),
            greedy=tuple(token == generated for token in self.ids),
        )  # fmt: skip

    def _problem(self, table: Mapping[int, float], generated: int) -> str | None:
        missing = sum(token not in table for token in self.ids)
        if missing and self.by_id:
            return f"no log-probability came for {missing} of {len(self.ids)} ids that were asked for"
        if missing:
            return f"the list of the {TOP} likeliest tokens is too short: {missing} choices are not in it"
        return _unsound([table[token] for token in self.ids], table.get(generated))


@dataclass(frozen=True)
class Echo:
    """What the model thinks of each token of the prompt after the first ``start``.

    ``before`` are the tokens of the context alone, or None where they are the
    prompt's own first ones. A prompt whose tokens begin otherwise has one token
    that spans the boundary; the values from ``start`` on count, as in lm_eval.
    """

    start: int
    before: "array[int] | None" = None
    recorded: bool = True
    path = "completions"
    # All logits of a prompt at once are what has ended engines (vllm#38830, #52054).
    heavy = True

    @property
    def key(self) -> str:
        """The boundary is not in the body."""
        return f"echo from {self.start}"

    def parameters(self) -> dict[str, Any]:
        """Return what a body needs besides model and prompt."""
        return {**_COMMON, "logprobs": 1, "echo": True}

    def read(self, body: Mapping[str, Any]) -> Answer | str:
        """Return the values, and as ids the prompt's."""
        choice = body["choices"][0]
        told = choice["logprobs"]
        tokens = [_token_id(token) for token in told["tokens"]]
        ids = [token for token in tokens if token is not None]
        if len(ids) < len(tokens):
            return NO_IDS
        # The last one was generated.
        prompt = _prompt_ids(choice) or ids[:-1]
        given = told["token_logprobs"][: len(prompt)]
        problem = self._problem(prompt, tokens, given)
        if problem is not None:
            return problem
        values = tuple(float(value) for value in given[self.start :])
        tops = told["top_logprobs"][self.start : len(prompt)]
        merged = self.before is not None and array("l", prompt[: self.start]) != self.before
        return Answer(
            text="merged" if merged else None, finish_reason=None, served=_served(body), values=values,
            greedy=tuple(value >= max(top.values()) for value, top in zip(values, tops, strict=True)),
            ids=tuple(prompt) if not self.recorded else None,
        )  # fmt: skip

    def _problem(self, prompt: Sequence[int], tokens: Sequence[int | None], given: Sequence[Any]) -> str | None:
        if len(tokens) < len(prompt):
            return f"the server ignores `echo`: {len(tokens)} log-probabilities came for {len(prompt)} prompt tokens"
        if list(tokens[: len(prompt)]) != list(prompt):
            return "the tokens that are echoed are not the prompt's"
        if given[0] is not None or None in given[1:]:
            nulls = sum(value is None for value in given)
            return f"{nulls} of {len(given)} prompt tokens have no log-probability; only the first may have none"
        if len(prompt) <= self.start:
            return "the tokens of context and choice together are not more than those of the context alone"
        return _unsound(given[self.start :], None)


_COMMON: Final[Mapping[str, Any]] = {
    "max_tokens": 1,
    "temperature": 0,
    "return_token_ids": True,
    "return_tokens_as_token_ids": True,
}


def _unsound(values: Sequence[float], likeliest: float | None) -> str | None:
    """Say why values are no log-probabilities; ``likeliest`` is that of the token that was generated."""
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        return "a log-probability is not a finite number"
    if any(value > _ROUNDING for value in values):
        return (
            f"a log-probability is {max(values):.4g}, above 0; start vLLM with --logprobs-mode raw_logprobs, "
            "which is its default"
        )
    if all(value == 0 for value in values) and len(values) > 1:
        return "all log-probabilities are 0.0, which no model gives: the server does not compute them"
    if any(value in _FILLERS for value in values):
        return f"a log-probability is {min(values):g}, which servers give for what they do not know"
    if likeliest is not None and max(values) > likeliest + 0.05:
        return (
            "a choice is likelier than the token that was generated as the likeliest; the values are of another place"
        )
    return None


def _by_id(told: Mapping[str, Any]) -> dict[int, float] | str:
    table: dict[int, float] = {}
    for name, value in told.items():
        token = _token_id(name)
        if token is None:
            return NO_IDS
        if not isinstance(value, int | float):
            return "a log-probability is null"
        table[token] = float(value)
    return table


def _token_id(name: Any) -> int | None:  # noqa: ANN401 - any JSON
    text = str(name)
    return int(text.removeprefix(_PREFIX)) if text.startswith(_PREFIX) else None


def _prompt_ids(choice: Mapping[str, Any]) -> list[int] | None:
    found = choice.get("prompt_token_ids")
    return [int(token) for token in found] if found is not None else None


def _generated(choice: Mapping[str, Any]) -> int | None:
    told = choice.get("token_ids")
    return int(told[0]) if told else _token_id(choice["logprobs"]["tokens"][0])


def _ids_only(ids: Sequence[Any]) -> Answer:
    return Answer(text=None, finish_reason=None, served=None, ids=tuple(int(token) for token in ids))


def _served(body: Mapping[str, Any]) -> str | None:
    served = body.get("model")
    return served if isinstance(served, str) else None
