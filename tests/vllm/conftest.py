"""Two vLLMs for the tests of this folder, of which one runs at a time: a small machine has no room for both."""

from collections.abc import Iterator, Mapping

import pytest

from tests.support.ports import claim
from tests.support.vllm_server import VllmServer, adapter, thinking
from tests.support.workspace import Workspace
from workbench.paths import Paths
from workbench.toolchain.vllm.provide import Vllm, provide

NAMES = ("gemma", "gemma-alias")
LORA = "gemma-tuned"


@pytest.fixture(scope="session")
def found() -> Vllm:
    """VLLM's environment and the model, from the cache."""
    return provide(Paths.of_this_clone())


@pytest.fixture(scope="session")
def servers(found: Vllm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, VllmServer]]:
    """Both servers by name, neither of them started."""
    claim("vllm")
    folder = tmp_path_factory.mktemp("vllm")
    plain = Vllm(found.env, thinking(found.model, folder / "model"))
    thinker = Vllm(found.env, thinking(found.model, folder / "thinker", ends=True))
    options = [
        # Without rounding to 8 bits, what else is in a batch changes no answer.
        "--dtype", "float32",
        # It takes thoughts out where chat_template_kwargs opens one, and is no parser at all elsewhere.
        "--reasoning-parser", "deepseek_v3",
        "--enable-lora", "--max-lora-rank", "8", "--lora-modules", f"{LORA}={adapter(folder / 'adapter')}",
    ]  # fmt: skip
    made = {
        "plain": VllmServer(plain, folder / "vllm.log", names=NAMES, options=options),
        "thinker": VllmServer(thinker, folder / "thinker.log", names=NAMES, options=options[:4]),
    }
    try:
        yield made
    finally:
        for server in made.values():
            server.kill()


def running(servers: Mapping[str, VllmServer], name: str) -> VllmServer:
    """Return the server of this name, started, with the other one ended."""
    for other in servers.values():
        if other is not servers[name]:
            other.kill()
    if not servers[name].running:
        servers[name].start()
    return servers[name]


@pytest.fixture
def vllm(servers: Mapping[str, VllmServer]) -> VllmServer:
    """The small model with two names and an adapter. It opens a thought if asked to, and never ends it."""
    return running(servers, "plain")


@pytest.fixture
def thinker(servers: Mapping[str, VllmServer]) -> VllmServer:
    """The small model with other weights: it ends a thought where it would have ended a line."""
    return running(servers, "thinker")


@pytest.fixture
def patient(workspace: Workspace) -> Workspace:
    """An empty evaluation that waits as long as two cores may take."""
    workspace.environ |= {"VLLM_EVAL_REQUEST_TIMEOUT_SECONDS": "120", "VLLM_EVAL_ENDPOINT_WAIT_SECONDS": "300"}
    return workspace


@pytest.fixture
def evaluation(patient: Workspace, vllm: VllmServer) -> Workspace:
    """An empty evaluation of the plain server's first name."""
    patient.set_models(patient.model(vllm.url, served_name=NAMES[0], concurrency=4))
    return patient
