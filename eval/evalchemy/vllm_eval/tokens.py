"""Finds the tokens of a text for the served model, without a hub.

A ladder, whose step that answered is kept (``Tokens.step``): the server's
``/tokenize``; a completion of one token that tells its prompt's ids; a folder
with the model's ``tokenizer.json`` (``VLLM_EVAL_TOKENIZER``).
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from vllm_eval.errors import TaskError
from vllm_eval.likelihood import NO_IDS, Detokenize, PromptIds, Tokenize
from vllm_eval.requests import Answer, Failure, Request

if TYPE_CHECKING:
    from vllm_eval.engines.base import EngineJob

Ids = tuple[int, ...]
FOLDER: Final = "VLLM_EVAL_TOKENIZER"
# A text whose tokens do not depend on the text before it.
_SOME: Final = "Seoul"


class TokensUnknownError(Exception):
    """The tokens of a text cannot be found; the message says why."""


class Step(Protocol):
    """One way to learn tokens."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def encode(self, texts: Sequence[str], *, special: bool) -> dict[str, Ids]:
        """Return the ids of each text, with the special tokens that the model adds if ``special``.

        Raises
        ------
        TokensUnknownError
            The server does not tell.
        """


@dataclass
class Tokens:
    """Tokens of texts, each asked for once.

    ``bos`` are the ids that the server puts before a text prompt.
    """

    step: Step
    bos: Ids
    _known: dict[tuple[str, bool], Ids] = field(default_factory=dict)

    @property
    def local(self) -> bool:
        """Whether no server is asked, and none need tell the ids of a prompt."""
        return isinstance(self.step, _Folder)

    def encode(self, texts: Iterable[str], *, special: bool) -> Mapping[str, Ids]:
        """Return the ids of each text.

        Raises
        ------
        TokensUnknownError
            The server does not tell.
        """
        wanted = dict.fromkeys(texts)
        missing = [text for text in wanted if (text, special) not in self._known]
        if missing:
            found = self.step.encode(missing, special=special)
            self._known.update({(text, special): ids for text, ids in found.items()})
        return {text: self._known[text, special] for text in wanted}


def find_tokens(job: "EngineJob") -> Tokens:
    """Climb the ladder.

    Raises
    ------
    TokensUnknownError
        No step answers.
    TaskError
        ``VLLM_EVAL_TOKENIZER`` names no tokenizer.
    """
    for step in (_ByServer(job, "/tokenize"), _ByServer(job, "return_token_ids"), _folder()):
        if step is None or (isinstance(step, _ByServer) and not step.answers()):
            continue
        plain, whole = (step.encode([_SOME], special=special)[_SOME] for special in (False, True))
        if not plain or whole[len(whole) - len(plain) :] != plain:
            raise TokensUnknownError(
                f"{step.name}: {_SOME!r} is {list(plain)}, and {list(whole)} with the model's special tokens; "
                "only tokens before a text are known here"
            )
        return Tokens(step, whole[: len(whole) - len(plain)])
    raise TokensUnknownError(f"{NO_IDS}, or give the model's tokenizer.json in a folder ({FOLDER})")


@dataclass(frozen=True)
class _ByServer:
    job: "EngineJob"
    name: str

    def answers(self) -> bool:
        """Whether the server knows this way."""
        if self.job.post is None:
            return False
        request = self._request(_SOME, special=False)
        assert request.wanted is not None  # noqa: S101 - for the type checker
        status, body = self.job.post(request.wanted.path, request.payload)
        if status != 200 or not isinstance(body, dict):
            return False
        try:
            outcome = request.wanted.read(body)
        except (LookupError, TypeError, ValueError, AttributeError):
            return False
        return isinstance(outcome, Answer)

    def encode(self, texts: Sequence[str], *, special: bool) -> dict[str, Ids]:
        requests = {text: self._request(text, special=special) for text in texts}
        answers = ask_all(self.job, requests.values())
        return {text: answers[request.key].ids or () for text, request in requests.items()}

    def _request(self, text: str, *, special: bool) -> Request:
        body: dict[str, Any] = {"model": self.job.model.asked_name, "prompt": text, "add_special_tokens": special}
        if self.name == "/tokenize":
            return Request("tokens", "tokens", 0, 0, body, Tokenize())
        more = {"max_tokens": 1, "temperature": 0, "return_token_ids": True}
        return Request("tokens", "tokens", 0, 0, {**body, **more}, PromptIds())


@dataclass(frozen=True)
class _Folder:
    tokenizer: Any
    name: str = "folder"

    def encode(self, texts: Sequence[str], *, special: bool) -> dict[str, Ids]:
        found = self.tokenizer.encode_batch(list(texts), add_special_tokens=special)
        return {text: tuple(each.ids) for text, each in zip(texts, found, strict=True)}


def _folder() -> _Folder | None:
    folder = os.environ.get(FOLDER)
    if not folder:
        return None
    from tokenizers import Tokenizer

    path = Path(folder) / "tokenizer.json"
    try:
        return _Folder(Tokenizer.from_file(str(path)))
    except Exception as error:  # noqa: BLE001 - the library raises no other class
        raise TaskError(
            f"{FOLDER} is {folder!r}: {path} cannot be read ({error}); name the folder with the served model's own"
        ) from None


def texts_of_chats(job: "EngineJob", chats: Sequence[Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return each chat as the text that the model's own template makes of it, up to where the answer begins.

    Raises
    ------
    TokensUnknownError
        The server has no ``/tokenize`` or ``/detokenize``.
    """
    name = job.model.asked_name
    # A template that opens a thought, unless told otherwise, would end in another text.
    template = job.model.asking.layer("chat").get("chat_template_kwargs")
    more = {"chat_template_kwargs": template} if template else {}
    tokenize = [_chat_request(name, chat, more) for chat in chats]
    found = ask_all(job, tokenize)
    back = {
        request.key: Request(
            "tokens", "tokens", 0, 0, {"model": name, "tokens": list(found[request.key].ids or ())}, Detokenize()
        )
        for request in tokenize
    }
    texts = ask_all(job, back.values())
    return [texts[back[request.key].key].text or "" for request in tokenize]


def _chat_request(name: str, chat: Sequence[Mapping[str, Any]], more: Mapping[str, Any]) -> Request:
    continued = chat[-1]["role"] == "assistant"
    flags = {"add_generation_prompt": not continued, "continue_final_message": continued}
    return Request("tokens", "tokens", 0, 0, {"model": name, "messages": list(chat), **flags, **more}, Tokenize())


def ask_all(job: "EngineJob", requests: Iterable[Request]) -> dict[str, Answer]:
    """Ask, where each request must be answered.

    Raises
    ------
    TokensUnknownError
        One was not.
    """
    unique = {request.key: request for request in requests}
    answers: dict[str, Answer] = {}
    for key, answer in job.ask(list(unique.values())).items():
        if isinstance(answer, Failure):
            raise TokensUnknownError(f"the tokens of a text cannot be learnt: {answer.reason}")
        answers[key] = answer
    return answers
