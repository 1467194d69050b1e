"""Thoughts that a server left in the text of an answer: found, and taken out before anything is graded.

A server with a reasoning parser (vLLM's ``--reasoning-parser``) sends thoughts
apart. One without it sends them in the text, between tags, and a stop of the
task or the token limit may cut the text before the answer begins.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

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

    ``thought``: a thought was taken out.
    """

    text: str
    thought: bool = False

    @property
    def empty(self) -> bool:
        """Whether there is nothing to grade."""
        return not self.text.strip()

    @property
    def only_thought(self) -> bool:
        """Whether there is nothing to grade because the text ends within a thought, or right after it."""
        return self.thought and self.empty


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
    return spoken


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
    # Other openings are words of the answer.
    for opening, closing in [pair for pair in TAGS if start.startswith(pair[0]) or pair[1] in text]:
        rest = text.rpartition(closing)[2] if closing in text else text
        if not rest.strip():
            # The last thought came after the answer, or there is no answer.
            rest = re.sub(f"{re.escape(opening)}.*?{re.escape(closing)}", "", text, flags=re.DOTALL)
            rest = rest.rpartition(closing)[2]
        # A thought that is opened again and not closed.
        text = rest.partition(opening)[0].strip()
    return Spoken(text, thought=True)
