"""Engines: what turns tasks and answers into scores."""

from vllm_eval.engines.base import Engine, EngineJob, TaskOutcome
from vllm_eval.engines.registry import ENGINES, create_engine

__all__ = ["ENGINES", "Engine", "EngineJob", "TaskOutcome", "create_engine"]
