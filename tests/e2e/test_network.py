"""The stack's NetworkPolicies, on a network that enforces them: who reaches whom, and nobody else anything."""

from typing import Final

import pytest

from components import labels
from tests.e2e import pods
from workbench.sandbox.namespaces import Sandbox

pytestmark = pytest.mark.e2e

MODEL: Final = "serving/model:8000"
GATEWAY: Final = "vllm-eval/vllm-eval-pushgateway:9091"
ASK: Final = """\
import socket, time
deadline = time.monotonic() + 60
while True:
    try:
        print(socket.gethostbyname({name!r}))
        break
    except OSError:
        if time.monotonic() > deadline:
            raise
"""


@pytest.fixture
def others(of_kind: str | None) -> list[str]:
    """Anything else of a cluster: another namespace's Service, and its API where that is not on the pod's own node.

    Kind's network lets every pod reach its own node.
    """
    return ["argocd/argocd-server:443", *([] if of_kind else ["default/kubernetes:443"])]


def test_an_evaluation_reaches_models_and_gateway_alone(sandbox: Sandbox, others: list[str]) -> None:
    wanted = {MODEL: True, GATEWAY: True, **dict.fromkeys(others, False)}
    assert pods.reached(sandbox, wanted, "vllm-eval", labels.selector(labels.EVALUATION)) == wanted


def test_any_other_pod_of_the_namespace_reaches_nothing(sandbox: Sandbox, others: list[str]) -> None:
    wanted = dict.fromkeys((MODEL, GATEWAY, *others), False)
    assert pods.reached(sandbox, wanted, "vllm-eval", {"app": "stranger"}) == wanted


def test_an_evaluation_may_ask_for_names(sandbox: Sandbox) -> None:
    script = ASK.format(name="model.serving.svc.cluster.local")
    said = pods.python(sandbox, script, namespace="vllm-eval", labels=labels.selector(labels.EVALUATION))
    assert said.strip() == pods.address(sandbox, MODEL).partition(":")[0]


def test_the_gateway_is_closed_to_other_namespaces(sandbox: Sandbox, others: list[str]) -> None:
    # In the labels of an evaluation, too: its namespace counts.
    wanted = {MODEL: True, GATEWAY: False, **dict.fromkeys(others, True)}
    assert pods.reached(sandbox, wanted, "serving", labels.selector(labels.EVALUATION)) == wanted
