"""Fixtures of the runner's tests, whatever these start; tests/conftest.py names this file to pytest."""

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.workspace import Workspace
from vllm_eval import pool


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty evaluation."""
    return Workspace(tmp_path)


@pytest.fixture(autouse=True)
def quick_and_quiet(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Around each run: retry at once, forget the developer's environment, and put signals and logging back."""
    if request.path.parent.name not in {"eval", "vllm"} and "workspace" not in request.fixturenames:
        yield
        return
    monkeypatch.setattr(pool, "FIRST_PAUSE_SECONDS", 0.01)
    for name in ("OPENAI_API_KEY", "MODEL_ENDPOINT", "MODEL_NAME", "MODEL_TAG", "JOB_COMPLETION_INDEX"):
        monkeypatch.delenv(name, raising=False)
    handler = signal.getsignal(signal.SIGTERM)
    handlers = list(logging.getLogger().handlers)
    yield
    signal.signal(signal.SIGTERM, handler)
    logging.getLogger().handlers[:] = handlers
