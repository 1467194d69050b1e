"""Thoughts that a server left in the text of an answer: found, and taken out before anything is graded.

A server with a reasoning parser (vLLM's ``--reasoning-parser``) sends thoughts
apart. One without it sends them in the text, between tags, and a stop of the
task or the token limit may cut the text before the answer begins.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from vllm_eval.asking import Asking
from vllm_eval.requests import Answer
from vllm_eval.spool import Kept

# Opening and closing tag, and who writes them. Sources: vLLM's docs/features/reasoning_outputs and vllm/reasoning.
TAGS = (
    ("<think>", "</think>"),  # DeepSeek R1, Qwen3, QwQ, GLM, Hunyuan, MiniMax, OLMo 3, Nemotron
    ("<thinking>", "</thinking>"),  # fine-tunes that follow Anthropic's habit
    ("<thought>", "</thought>"),  # EXAONE Deep
    ("<reasoning>", "</reasoning>"),  # fine-tunes by GRPO recipes
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("[THINK]", "[/THINK]"),  # Magistral
    ("◁think▷", "◁/think▷"),  # Kimi-VL
    ("<|channel>thought", "<channel|>"),  # Gemma 4
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A Reasoning
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss, special tokens kept
)
# gpt-oss where the server drops special tokens: "analysis…assistantfinal…". The first word alone proves nothing.
_HARMONY = re.compile(r"\A\s*analysis.*?assistantfinal", re.DOTALL)
# Tags that stand somewhere else than at the start of the text are the answer's own words, unless more than this
# share of a task's answers has them: a template that opens the thought leaves the closing tag only.
OWN_WORDS_SHARE = 0.01


@dataclass(frozen=True)
class Spoken:
    """The part of an answer that is graded.

    ``thought``: a thought was taken out, or came apart; ``inner`` is its text.
    ``tagged``: tags of thoughts stood in the text, though no end of a thought
    was agreed on. ``stopped``: a stop of the task ended the text here, since
    the server was not sent it.
    """

    text: str
    thought: bool = False
    inner: Kept | None = field(default=None, compare=False)
    tagged: bool = field(default=False, compare=False)
    stopped: bool = field(default=False, compare=False)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to grade."""
        return not self.text.strip()

    @property
    def only_thought(self) -> bool:
        """Whether there is nothing to grade because the text ends within a thought, or right after it."""
        return self.thought and self.empty


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How the answers of a task are read.

    ``stops`` are those that the server was not sent, because a thought may
    hold them; ``keep_stop``: the stop stays in the text
    (``include_stop_str_in_output``).
    """

    asking: Asking = field(default_factory=Asking)
    stops: tuple[str, ...] = ()
    keep_stop: bool = False


def spoken_of(answers: Sequence[Answer | None], rule: Rule) -> list[Spoken]:
    """Take the thoughts out of the answers of one task, and end them where its stops do.

    ``None`` stands for an answer that did not come.
    """
    end = rule.asking.think_end_token
    if end is None:
        spoken = without_thoughts([answer.text if answer else None for answer in answers])
    else:
        spoken = [_up_to(end, answer) if answer else Spoken("") for answer in answers]
    return [_finish(said, answer, rule) if answer else said for said, answer in zip(spoken, answers, strict=True)]


def _up_to(end: str, answer: Answer) -> Spoken:
    """Split a text after the last ``end``; a text that was cut before it came is a thought as a whole."""
    text = answer.text or ""
    inner, found, rest = text.rpartition(end)
    opening = next((tag for tag, _ in TAGS if text.lstrip().startswith(tag)), "")
    inner = (inner if found else text).lstrip().removeprefix(opening)
    if found:
        return Spoken(rest, thought=True, inner=Kept(inner))
    return Spoken("", thought=True, inner=Kept(inner)) if opening or (answer.truncated and text) else Spoken(text)


def _finish(said: Spoken, answer: Answer, rule: Rule) -> Spoken:
    if answer.thought is not None:
        inner = answer.thought
        if said.inner is not None and not said.inner.blank:
            inner = Kept(f"{inner.text}\n{said.inner.text}")
        said = replace(said, thought=True, inner=inner)
    text = said.text
    if said.thought and rule.asking.thinks:
        # Between thought and answer, models write line breaks, which would be a stop of many tasks.
        text = text.lstrip()
    text, stopped = cut_at_stop(text, rule.stops, keep=rule.keep_stop)
    return replace(said, text=text, stopped=stopped)


def cut_at_stop(text: str, stops: Sequence[str], *, keep: bool) -> tuple[str, bool]:
    """End a text as a server does that looks for stops while it writes: at the stop that is whole first.

    Of stops that end at the same character, the longest counts.

    Returns
    -------
    tuple
        The text, without the stop unless ``keep``; and whether there was one.
    """
    found = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
    if not found:
        return text, False
    end, start = min(found)
    return text[: end if keep else start], True


def without_thoughts(texts: Sequence[str | None]) -> list[Spoken]:
    """Take the thoughts out of the answers of one task.

    All at once, because whether a closing tag alone ends a thought or is a word
    of the answer shows only beside the other answers. What follows the *last*
    closing tag is the answer: thoughts quote tags more often than answers do.

    Parameters
    ----------
    texts
        The answers as the server sent them; None counts as empty text.
    """
    spoken = [_strip(text or "") for text in texts]
    stray = [index for index, text in enumerate(texts) if text and not spoken[index].thought and _has_closing(text)]
    if len(stray) > OWN_WORDS_SHARE * len(texts):
        for index in stray:
            spoken[index] = _after_thoughts(texts[index] or "")
    return [
        replace(said, inner=Kept(_inner(text or "", said.text)), tagged=True) if said.thought else said
        for said, text in zip(spoken, texts, strict=True)
    ]


def _inner(text: str, answer: str) -> str:
    """Return what of a text is not its answer, without the outermost tags."""
    before, found, after = text.rpartition(answer) if answer else (text, "", "")
    inner = (before + after if found or not answer else text).strip()
    for opening, closing in TAGS:
        inner = inner.removeprefix(opening).removesuffix(closing)
    return inner.strip()


def _strip(text: str) -> Spoken:
    """Take out thoughts if the text begins with one."""
    start = text.lstrip()
    if any(start.startswith(opening) for opening, _ in TAGS):
        return _after_thoughts(text)
    harmony = _HARMONY.match(text)
    return Spoken(text[harmony.end() :].lstrip(), thought=True) if harmony else Spoken(text)


def _has_closing(text: str) -> bool:
    return any(closing in text for _, closing in TAGS)


def _after_thoughts(text: str) -> Spoken:
    start = text.lstrip()
    # Other opening tags are part of the answer.
    for opening, closing in [pair for pair in TAGS if start.startswith(pair[0]) or pair[1] in text]:
        rest = text.rpartition(closing)[2] if closing in text else text
        if not rest.strip():
            # The last thought came after the answer, or there is no answer.
            rest = re.sub(f"{re.escape(opening)}.*?{re.escape(closing)}", "", text, flags=re.DOTALL)
            rest = rest.rpartition(closing)[2]
        # A thought that is opened again and not closed.
        text = rest.partition(opening)[0].strip()
    return Spoken(text, thought=True)
