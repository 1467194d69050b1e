"""One vLLM for all tests of this folder: two names, an adapter, thoughts where a request wants them."""

from collections.abc import Iterator

import pytest

from tests.support.evaluations import quick_and_quiet, workspace
from tests.support.vllm_server import VllmServer, adapter, thinking
from tests.support.workspace import Workspace
from workbench.paths import Paths
from workbench.toolchain.vllm.provide import Vllm, provide

__all__ = ["quick_and_quiet", "workspace"]

NAMES = ("gemma", "gemma-alias")
LORA = "gemma-tuned"


@pytest.fixture(scope="session")
def found() -> Vllm:
    """VLLM's environment and the model, from the cache."""
    return provide(Paths.of_this_clone())


@pytest.fixture(scope="session")
def vllm(found: Vllm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    """The server."""
    folder = tmp_path_factory.mktemp("vllm")
    served = Vllm(found.env, thinking(found.model, folder / "model"))
    options = [
        # Without rounding to 8 bits, what else is in a batch changes no answer.
        "--dtype", "float32",
        # It takes thoughts out where chat_template_kwargs opens one, and is no parser at all elsewhere.
        "--reasoning-parser", "deepseek_v3",
        "--enable-lora", "--max-lora-rank", "8", "--lora-modules", f"{LORA}={adapter(folder / 'adapter')}",
    ]  # fmt: skip
    server = VllmServer(served, folder / "vllm.log", names=NAMES, options=options)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def evaluation(workspace: Workspace, vllm: VllmServer) -> Workspace:
    """An empty evaluation of the server's first name."""
    workspace.environ |= {"VLLM_EVAL_REQUEST_TIMEOUT_SECONDS": "120", "VLLM_EVAL_ENDPOINT_WAIT_SECONDS": "300"}
    workspace.set_models(workspace.model(vllm.url, served_name=NAMES[0], concurrency=4))
    return workspace
