"""Settings with which a model is asked: its own block in the list of models, and which setting takes precedence.

From weak to strong: the task's YAML, the model's ``generation``, the task's
``generation`` in eval_config.json. A YAML speaks for every model, the block
for one model and all tasks, and eval_config.json for this very task.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from vllm_eval.generation import LIMITS, read_generation
from vllm_eval.strict import shown

Reasoning = Literal["off", "any", "required"]

# What chat templates call the switch: Qwen3, GLM and most others; DeepSeek-V3.1, Granite and Holo2. vLLM passes to a
# template only the names that it uses.
THINKING_OFF: Final[Mapping[str, bool]] = {"enable_thinking": False, "thinking": False}
# Keys that only a task may set; `stop` and its kin are refused by `read_generation`.
_OF_THE_TASK: Final = {
    "until": "stops belong to the task; where the model reasons they do not cut its thoughts anyway",
}


@dataclass(frozen=True, kw_only=True)
class Asking:
    """A model's own block.

    ``generation`` is what it says, unread; ``reasoning`` None: nothing is said
    of thoughts. ``think_end_token`` ends a thought in the text of a server
    that does not send it apart.
    """

    generation: Mapping[str, Any] = field(default_factory=dict)
    reasoning: Reasoning | None = None
    think_end_token: str | None = None

    @property
    def thinks(self) -> bool:
        """Whether the model may think before it answers."""
        return self.reasoning in {"any", "required"}

    @property
    def told(self) -> dict[str, Any]:
        """What the block says; empty without a block, so that hashes of models without one do not change."""
        said = {
            "generation": dict(self.generation), "reasoning": self.reasoning, "think_end_token": self.think_end_token,
        }  # fmt: skip
        return {key: value for key, value in said.items() if value}

    def layer(self, api: str) -> dict[str, Any]:
        """Return what is laid over a YAML's ``generation_kwargs``; ``reasoning: off`` sets the template's switch."""
        if self.reasoning != "off" or api != "chat":
            return dict(self.generation)
        return laid_over({"chat_template_kwargs": dict(THINKING_OFF)}, self.generation)


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay generation settings over others, key by key.

    Names of one thing are one key: a token limit takes the place of any other,
    and a temperature that of ``do_sample``. ``chat_template_kwargs`` and
    ``extra_body`` are themselves laid over key by key.
    """
    hidden: set[str] = set()
    if any(name in above for name in LIMITS):
        hidden |= set(LIMITS)
    if above.get("temperature") is not None and "do_sample" not in above:
        hidden.add("do_sample")
    merged = {key: value for key, value in below.items() if key not in hidden or key in above}
    for key, value in above.items():
        known = merged.get(key)
        inner = key in {"chat_template_kwargs", "extra_body"}
        merged[key] = {**known, **value} if inner and isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def check_block(asking: Asking, api: str) -> list[str]:
    """Say what is wrong with a model's block, each line with key, value and cure."""
    said = asking.generation
    found = [f"generation.{key}: {cure}" for key, cure in _OF_THE_TASK.items() if key in said]
    rest = {key: value for key, value in said.items() if key not in _OF_THE_TASK}
    found += [problem.replace("generation_kwargs", "generation", 1) for problem in read_generation(rest)[1]]
    if api != "chat" and "chat_template_kwargs" in said:
        found.append("generation.chat_template_kwargs: the completions API has no template; set api to chat")
    if asking.think_end_token is not None and not asking.thinks:
        found.append("think_end_token: ends a thought, but reasoning does not allow one; set reasoning to any")
    return found


def who_says(yaml: Mapping[str, Any], model: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    """Return the settings with which a task is asked, each with the layer that it comes from."""
    layers = (("task", task), ("model", model), ("YAML", yaml))
    merged = laid_over(laid_over(yaml, model), task)
    parts = []
    for key, value in merged.items():
        source = next(name for name, layer in layers if key in layer)
        parts.append(f"{key} {shown(value)} ({source})")
    return ", ".join(parts)
