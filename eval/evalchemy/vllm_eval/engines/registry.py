"""Which engines exist, and whether this image has them."""

from collections.abc import Callable, Mapping

from vllm_eval.engines.base import Engine
from vllm_eval.engines.evalchemy import EvalchemyEngine
from vllm_eval.engines.fake import FakeEngine
from vllm_eval.engines.lm_eval import LmEvalEngine

ENGINES: Mapping[str, Callable[[], Engine]] = {
    "lm_eval": LmEvalEngine,
    "evalchemy": EvalchemyEngine,
    "fake": FakeEngine,
}


def create_engine(name: str) -> Engine | None:
    """Create an engine by the name that eval_config.json uses; None when there is no such engine."""
    factory = ENGINES.get(name)
    return factory() if factory is not None else None
