"""Generation settings of a task: read, checked by name, and sent; and whether what is sent is what the YAML says.

lm_eval's own API models know one name of the token limit, send at most four
stops over the chat API, ignore ``do_sample`` and pass every other key on as it
is, misspelt or not. Here each key is known, or the task is refused.
"""

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vllm_eval.strict import has_half_character, shown

LIMITS = ("max_gen_toks", "max_tokens", "max_new_tokens", "max_completion_tokens")
# What lm_eval's API models send where the YAML sets no limit.
DEFAULT_MAX_TOKENS = 256
# Sampling as transformers does it where `do_sample: true` stands alone.
DEFAULT_TEMPERATURE = 1.0
# Request parameters of vLLM, and of the OpenAI API, that change an answer and nothing else of a response.
PASSED = frozenset({
    "add_special_tokens", "allowed_token_ids", "bad_words", "chat_template", "chat_template_kwargs", "documents",
    "frequency_penalty", "guided_choice", "guided_grammar", "guided_json", "guided_regex", "ignore_eos",
    "include_reasoning", "include_stop_str_in_output", "length_penalty", "logit_bias", "logits_processors",
    "min_p", "min_tokens", "presence_penalty", "priority", "reasoning_effort", "repetition_detection",
    "repetition_penalty", "response_format", "skip_special_tokens", "spaces_between_special_tokens",
    "stop_token_ids", "structured_outputs", "thinking_token_budget", "top_k", "top_p", "typical_p", "verbosity",
    "vllm_xargs",
})  # fmt: skip
# Keys of other back ends, with the only value that has no effect here.
NEUTRAL: Mapping[str, Any] = {
    "n": 1, "best_of": 1, "num_beams": 1, "num_return_sequences": 1, "use_beam_search": False, "stream": False,
    "echo": False,
}  # fmt: skip
CURES: Mapping[str, str] = {
    "stop": "name the stops `until`",
    "stop_sequences": "name the stops `until`",
    "max_length": "it counts the prompt as well; set max_gen_toks, which bounds the answer",
    "n": "set the task's `repeats`",
    "best_of": "set the task's `repeats`",
    "num_return_sequences": "set the task's `repeats`",
    "num_beams": "a beam search is not run; remove it",
    "use_beam_search": "a beam search is not run; remove it",
    "continue_final_message": "set the task's `gen_prefix`, which is continued",
    "add_generation_prompt": "set the task's `gen_prefix`, which is continued",
    "enable_thinking": "put it into chat_template_kwargs",
    "stream": "answers are read whole; remove it",
    "echo": "the prompt would be judged as an answer; remove it",
    "truncate_prompt_tokens": "prompts are never cut unseen; remove it",
    "gen_prefix": "it is a key of the task, not of generation_kwargs",
    "repeats": "it is a key of the task, not of generation_kwargs",
    "model": "set the model's served_name",
    "prompt": "the prompt is made by doc_to_text",
    "messages": "the messages are made by doc_to_text",
}
# The part of a request that is the question, and not a setting.
QUESTION = frozenset({"model", "prompt", "messages", "continue_final_message", "add_generation_prompt"})
KNOWN = ("until", "do_sample", "temperature", "seed", *LIMITS, *sorted(PASSED), *NEUTRAL)
# Parameters of a server that are not known here; they are sent with the others.
EXTRA = "extra_body"


@dataclass(frozen=True, kw_only=True)
class Generation:
    """What a task's generation settings ask for.

    ``stops`` and ``max_tokens`` are None where the settings do not say;
    ``temperature`` is 0 for greedy decoding; ``others`` are sent as they are.
    """

    stops: tuple[str, ...] | None = None
    max_tokens: int | None = None
    temperature: float = 0
    seed: int | None = None
    others: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self, seed: int, repeat: int) -> dict[str, Any]:
        """Return the request's parameters.

        Parameters
        ----------
        seed
            The run's seed; the settings' own comes before it.
        repeat
            Number of the answer to the same question, from 0: added to the
            seed, so that each is a sample of its own, and a second run asks the same.
        """
        return {
            "max_tokens": DEFAULT_MAX_TOKENS if self.max_tokens is None else self.max_tokens,
            "temperature": self.temperature,
            "stop": list(self.stops or ()),
            "seed": (seed if self.seed is None else self.seed) + repeat,
            **self.others,
        }


def read_generation(settings: object) -> tuple[Generation, list[str]]:
    """Read ``generation_kwargs``.

    Returns
    -------
    tuple
        The settings, and what is wrong with them, each line with key, value
        and cure; what is wrong is left out of the first.
    """
    if settings is None:
        return Generation(), []
    if not isinstance(settings, Mapping):
        return Generation(), [f"generation_kwargs must be a mapping, is {shown(settings)}"]
    found: list[str] = []
    generation = Generation(
        stops=_stops(settings, found),
        max_tokens=_limit(settings, found),
        temperature=_temperature(settings, found),
        seed=_seed(settings, found),
        others=_others(settings, found),
    )
    return generation, [f"generation_kwargs.{problem}" for problem in found]


def check_repeats(repeats: object) -> list[str]:
    """Say what is wrong with a task's ``repeats``, the number of answers to each question."""
    if isinstance(repeats, int) and not isinstance(repeats, bool) and repeats >= 1:
        return []
    return [f"repeats: must be a whole number from 1 on (got {shown(repeats)})"]


def _stops(settings: Mapping[Any, Any], found: list[str]) -> tuple[str, ...] | None:
    if "until" not in settings:
        return None
    until = settings["until"]
    stops = until if isinstance(until, list | tuple) else [] if until is None else [until]
    wrong = [stop for stop in stops if not isinstance(stop, str) or not stop or has_half_character(stop)]
    if wrong:
        found.append(f"until: each stop must be text that is not empty (got {shown(wrong[0])}); put it in quotes")
    return tuple(stop for stop in stops if stop not in wrong)


def _limit(settings: Mapping[Any, Any], found: list[str]) -> int | None:
    given = {name: settings[name] for name in LIMITS if settings.get(name) is not None}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            found.append(f"{name}: must be a whole number from 1 on (got {shown(value)})")
            return None
    if len(set(given.values())) > 1:
        stated = ", ".join(f"{name} {value}" for name, value in given.items())
        found.append(f"{next(iter(given))}: {stated} are names of one limit and differ; keep one")
        return None
    return next(iter(given.values()), None)


def _temperature(settings: Mapping[Any, Any], found: list[str]) -> float:
    """Return the temperature, read as transformers reads both keys.

    Without ``do_sample``, the temperature decides alone.
    """
    sample, temperature = settings.get("do_sample"), settings.get("temperature")
    if sample is not None and not isinstance(sample, bool):
        found.append(f"do_sample: must be true or false (got {shown(sample)})")
        return 0
    number = isinstance(temperature, int | float) and not isinstance(temperature, bool)
    if temperature is not None and not (number and math.isfinite(temperature) and temperature >= 0):
        found.append(f"temperature: must be a number from 0 on (got {shown(temperature)})")
        return 0
    if temperature is None:
        return DEFAULT_TEMPERATURE if sample else 0
    return 0 if sample is False and temperature > 0 else temperature


def _seed(settings: Mapping[Any, Any], found: list[str]) -> int | None:
    seed = settings.get("seed")
    if seed is None or (isinstance(seed, int) and not isinstance(seed, bool)):
        return seed
    found.append(f"seed: must be a whole number (got {shown(seed)})")
    return None


def _others(settings: Mapping[Any, Any], found: list[str]) -> dict[str, Any]:
    others: dict[str, Any] = {}
    for key, value in settings.items():
        if key == EXTRA:
            others.update(_extra(value, found))
        elif key in PASSED:
            if _is_json(value):
                others[key] = value
            else:
                found.append(f"{key}: {shown(value)} cannot be sent as JSON")
        elif key in NEUTRAL:
            if value != NEUTRAL[key]:
                found.append(f"{key}: {shown(value)} is not taken; {CURES[key]}")
        elif key not in KNOWN:
            found.append(f"{key}: unknown key; {_cure(key)}")
    return others


def _extra(extra: object, found: list[str]) -> dict[str, Any]:
    """Return what ``extra_body`` adds: parameters whose effect is not known here, and none whose effect is."""
    if not isinstance(extra, Mapping):
        found.append(f"{EXTRA}: must be a mapping (got {shown(extra)})")
        return {}
    added: dict[str, Any] = {}
    for key, value in extra.items():
        if key in {*KNOWN, EXTRA}:
            found.append(f"{EXTRA}.{key}: is known; put it beside the others")
        elif not isinstance(key, str) or key in CURES or key in {*QUESTION, "stream_options"}:
            found.append(f"{EXTRA}.{key}: {CURES.get(key, 'is not taken; remove it')}")
        elif not _is_json(value):
            found.append(f"{EXTRA}.{key}: {shown(value)} cannot be sent as JSON")
        else:
            added[key] = value
    return added


def _cure(key: object) -> str:
    if not isinstance(key, str):
        return "a key is text"
    if key in CURES:
        return CURES[key]
    near = difflib.get_close_matches(key.lower(), KNOWN, n=1)
    return f"did you mean {near[0]}?" if near else "remove it (vLLM's own parameters are known by their names)"


def _is_json(value: Any) -> bool:  # noqa: ANN401 - anything that YAML may hold
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def differences(payload: Mapping[str, Any], wanted: Generation, *, seed: int, repeat: int) -> list[str]:
    """Compare a request with what a task's settings ask for.

    ``wanted`` is read from the task's own YAML, while the payload came through
    lm_eval: what either of them loses, shows here.

    Returns
    -------
    list of str
        The parameters that differ, with both values; empty when all agree.
    """
    expected = wanted.parameters(seed, repeat)
    if wanted.stops is None:
        # lm_eval's default, which depends on the task's few-shot delimiter.
        expected.pop("stop")
    changed = [
        f"{key} is {shown(payload.get(key))}, the task's YAML asks for {shown(value)}"
        for key, value in expected.items()
        if payload.get(key) != value
    ]
    added = sorted(set(payload) - set(expected) - QUESTION - {"stop"})
    return [*changed, *(f"{key} is {shown(payload[key])}, the task's YAML has no such key" for key in added)]


def unsendable(prompt: str | Sequence[Mapping[str, Any]]) -> str | None:
    """Say why no server can read a prompt, None if it can."""
    texts = [prompt] if isinstance(prompt, str) else [str(message.get("content") or "") for message in prompt]
    if any(has_half_character(text) for text in texts):
        return "the prompt holds half of a surrogate pair (\\ud800 to \\udfff), which is no character; mend the item"
    return None
