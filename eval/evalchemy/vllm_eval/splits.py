"""Where a context ends and a choice begins, in tokens; as lm_eval splits them, with few questions to the server."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from vllm_eval.tokens import Ids, Tokens

# So many pairs are looked at first, and held whole beside what their last lines tell.
_FIRST_LOOK: Final = 8


class Pair(NamedTuple):
    """One choice of one item, at (doc_id, index of the choice): what is given, and what is scored after it."""

    place: tuple[int, int]
    context: str
    continuation: str


@dataclass(frozen=True)
class Single:
    """Choices that are one token each.

    ``tails`` are the tokens with which a prompt must end for this to hold, by
    context; empty where the whole context was looked at.
    """

    ids: Mapping[tuple[int, int], int]
    tails: Mapping[str, Ids]


class Splitter:
    """Splits pairs.

    Parameters
    ----------
    special
        Whether the server adds the model's special tokens to a prompt.
    """

    def __init__(self, tokens: Tokens, *, special: bool) -> None:
        self._tokens = tokens
        self._special = special

    def contexts(self, pairs: Iterable[Pair]) -> Mapping[str, Ids]:
        """Return the tokens of each context."""
        return self._tokens.encode({pair.context for pair in pairs}, special=self._special)

    def single(self, pairs: Sequence[Pair]) -> Single | None:
        """Return the token of each choice; None if a choice has several.

        What stands before the last line is left out where that tells the same:
        "Answer:" is then asked about once, and not behind each of 14,000
        questions. Each response shows whether its prompt ends so.
        """
        if self._tokens.local:
            return self.single_by_whole(pairs)
        first = pairs[:: max(1, len(pairs) // _FIRST_LOOK)]
        whole = self.single_by_whole(first)
        if whole is None:
            return None
        by_line = self._single_by_line(first)
        if by_line is None or by_line.ids != whole.ids:
            return self.single_by_whole(pairs)
        return self._single_by_line(pairs) or self.single_by_whole(pairs)

    def single_by_whole(self, pairs: Sequence[Pair]) -> Single | None:
        """Return the token of each choice behind its whole context; None if one has several."""
        found = self._split({pair: pair.context for pair in pairs}, special=self._special)
        return Single(found, {}) if found is not None else None

    def _single_by_line(self, pairs: Sequence[Pair]) -> Single | None:
        lines = {pair: _last_line(pair.context) for pair in pairs}
        found = self._split(lines, special=False)
        if found is None:
            return None
        tails = self._tokens.encode(set(lines.values()), special=False)
        return Single(found, {pair.context: tails[line] for pair, line in lines.items()})

    def _split(self, before: Mapping[Pair, str], *, special: bool) -> dict[tuple[int, int], int] | None:
        texts = {text for pair, given in before.items() for text in (given, given + pair.continuation)}
        ids = self._tokens.encode(texts, special=special)
        found: dict[tuple[int, int], int] = {}
        for pair, given in before.items():
            rest = ids[given + pair.continuation][len(ids[given]) :]
            if len(rest) != 1:
                return None
            found[pair.place] = rest[0]
        return found


def _last_line(context: str) -> str:
    return context[context.rfind("\n") + 1 :]
