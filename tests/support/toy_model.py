"""A small language model whose log-probabilities are known, and a server of it with one fault on purpose.

Its tokens are words with the space before them, long words in parts; the value
of a token depends on all that stands before it. Words that follow one another
in the probe's texts are likely, so that sensible text is.
"""

import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.support.serving import serving
from vllm_eval.probe import TEXTS

NAME = "toy"
BOS = 1
PART = 5


def _pieces(text: str) -> list[str]:
    return [word[at : at + PART] for word in re.findall(r" ?\S+|\s+", text) for at in range(0, len(word), PART)]


def ids_of(text: str, salt: str = "") -> list[int]:
    return [10 + zlib.crc32((salt + piece).encode()) % 50_000_000 for piece in _pieces(text)]


_FOLLOW = {pair for text in TEXTS for pair in pairwise(ids_of(text))}


def template(messages: Sequence[dict[str, str]], *, enable_thinking: bool = True, **_: object) -> str:
    """Return what the model's chat template makes of a chat; it opens a thought unless told not to."""
    said = "".join(f"<{message['role']}>{message['content']}\n" for message in messages)
    return f"{said}<assistant>{' <think>' if enable_thinking else ''}"


def value_of(before: Sequence[int], token: int) -> float:
    """Return log P(token | before) in nats."""
    chance = zlib.crc32(repr((list(before), token)).encode()) / 2**32
    return -0.2 - 1.5 * chance if before and (before[-1], token) in _FOLLOW else -3 - 6 * chance


@dataclass
class Toy:
    """The server; ``jitter`` (nats) is what batching adds to a value, ``count`` how often each path was asked."""

    fault: str = ""
    bos: bool = True
    jitter: float = 0.0
    knows_ids: bool = True
    tokenize: bool = True
    fails_after: int = 30
    tells_ids: bool = True
    count: Counter[str] = field(default_factory=Counter)
    _seen: dict[str, list[float | None]] = field(default_factory=dict)
    _times: Counter[str] = field(default_factory=Counter)
    _texts: dict[tuple[int, ...], str] = field(default_factory=dict)

    def respond(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        self.count[path] += 1
        if path == "/tokenize":
            return self._tokenize(body)
        if path == "/detokenize":
            return 200, {"prompt": self._texts[tuple(body["tokens"])]}
        if self.fault == "500" and self.count[path] > self.fails_after:
            return 500, {"error": {"message": "out of memory"}}
        return 200, {"model": NAME, "choices": [self._choice(body)]}

    def _tokenize(self, body: dict[str, Any]) -> tuple[int, Any]:
        if not self.tokenize or self.fault == "llama.cpp":
            return 404, {"error": {"message": "not found"}}
        if "messages" in body:
            text = template(body["messages"], **body.get("chat_template_kwargs", {}))
            self._texts[tuple(ids_of(text))] = text
            return 200, {"tokens": ids_of(text)}
        ids = ids_of(body["prompt"], "other" if self.fault == "other tokenizer" else "")
        return 200, {"tokens": self._special(body, ids)}

    def _special(self, body: dict[str, Any], ids: list[int]) -> list[int]:
        return [BOS, *ids] if self.bos and body.get("add_special_tokens", True) else ids

    def _choice(self, body: dict[str, Any]) -> dict[str, Any]:
        given = body["prompt"]
        prompt = given if isinstance(given, list) else self._special(body, ids_of(given))
        if self.fault == "BOS twice" and not isinstance(given, list):
            prompt = [BOS, *prompt]
        wanted = body.get("logprob_token_ids") or []
        best = max([*wanted, *_likely(prompt)], key=lambda token: value_of(prompt, token))
        found: dict[str, Any] = {"text": "", "finish_reason": "length"}
        if self.tells_ids:
            found |= {"token_ids": [best], "prompt_token_ids": prompt}
        told = self._echoed(body, prompt, best) if body.get("echo") else self._first(body, prompt, best)
        if self.fault == "llama.cpp":
            told = {"tokens": [" a"], "token_logprobs": [-1.0], "top_logprobs": [{" a": -1.0}], "text_offset": [0]}
            return {"text": " a", "finish_reason": "length", "logprobs": told}
        return {**found, "logprobs": told}

    def _first(self, body: dict[str, Any], prompt: list[int], best: int) -> dict[str, Any]:
        knows = self.knows_ids and self.fault != "top list too short"
        wanted = body.get("logprob_token_ids", []) if knows else _likely(prompt)[:20]
        if self.fault == "top list too short":
            wanted = [token for token in wanted if token not in LETTERS]
        if self.fault == "ids missing":
            wanted = wanted[:-1]
        table = {token: self._value(prompt, token) for token in {*wanted, best}}
        if self.fault == "constant":
            table = dict.fromkeys(table, -1.5)
        if self.fault == "drift" and LETTERS[0] in wanted:
            self._times[json.dumps(prompt)] += 1
            table = {token: number - 0.2 * self._times[json.dumps(prompt)] for token, number in table.items()}
        value = table[best]
        return {
            "tokens": [f"token_id:{best}"], "token_logprobs": [value],
            "top_logprobs": [{f"token_id:{token}": number for token, number in table.items()}],
        }  # fmt: skip

    def _echoed(self, body: dict[str, Any], prompt: list[int], best: int) -> dict[str, Any]:
        values: list[float | None] = [None, *(self._value(prompt[:at], prompt[at]) for at in range(1, len(prompt)))]
        key = json.dumps(body["prompt"])
        match self.fault:
            case "echo ignored":
                return self._first(body, prompt, best)
            case "shifted":
                values = [None, *values[2:], -1.0]
            case "nulls":
                values[-1] = None
            case "zeros":
                values = [None, *[0.0] * (len(values) - 1)]
            case "+0.3":
                values = [None, *(min(value + 0.3, -0.01) for value in values[1:] if value is not None)]
            case "stale" if key in self._seen:
                others = next(iter(self._seen.values()))
                values = [None, *((others[1:] * len(values))[: len(values) - 1])]
        self._seen[key] = values
        tokens = [*(f"token_id:{token}" for token in prompt), f"token_id:{best}"]
        tops = [None if value is None else {token: value} for token, value in zip(tokens, values, strict=False)]
        return {"tokens": tokens, "token_logprobs": [*values, -1.0], "top_logprobs": [*tops, {tokens[-1]: -1.0}]}

    def _value(self, before: list[int], token: int) -> float:
        value = value_of(before, token)
        if self.jitter:
            value += self.jitter * (zlib.crc32(repr((before, token, sum(self.count.values()))).encode()) / 2**31 - 1)
        return {"logits": value + 20, "NaN": float("nan"), "-9999": -9999.0}.get(self.fault, value)


LETTERS = [ids_of(f" {letter}")[0] for letter in "ABCDE"]


def _likely(prompt: Sequence[int]) -> list[int]:
    return [*LETTERS, 7, 8, *sorted(after for before, after in _FOLLOW if before == prompt[-1])]


def write_tokenizer(folder: Path, texts: Sequence[str]) -> None:
    """Write the toy's ``tokenizer.json``, as far as these texts need it."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    pieces = {piece for text in (*texts, *TEXTS) for piece in _pieces(text)}
    vocabulary = {"<s>": BOS, **{piece: ids_of(piece)[0] for piece in sorted(pieces)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r" ?\S+|\s+"), "removed", invert=True),
        pre_tokenizers.Split(Regex(rf"(?m).{{1,{PART}}}"), "removed", invert=True),
    ])  # fmt: skip
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    tokenizer.save(str(folder / "tokenizer.json"))


@contextmanager
def serve(toy: Toy) -> Iterator[str]:
    """Serve on a free port of loopback, and give the endpoint."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(200, {"data": [{"id": NAME, "root": "toy-weights", "max_model_len": 4096}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(*toy.respond(self.path.removeprefix("/v1/"), body))

        def _answer(self, status: int, content: object) -> None:
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Keep the test's output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}/v1"
