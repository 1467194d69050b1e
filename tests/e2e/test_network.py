"""The stack's NetworkPolicies, on a network that enforces them: who reaches whom, and nobody else anything.

Policies reach a node some time after the pods that they speak of; until then a pod may see more, or less, than it
will. What each pod settles on, three times in a row, is asserted.
"""

import json
from typing import Final

import pytest

from components import labels
from tests.e2e import pods
from workbench.cluster.kubectl import kubectl
from workbench.sandbox.namespaces import Sandbox

pytestmark = pytest.mark.e2e

MODEL: Final = "serving/model:8000"
GATEWAY: Final = "vllm-eval/vllm-eval-pushgateway:9091"
SCRIPT: Final = """\
import json, socket, time
wanted = json.loads({wanted!r})

def reached(target):
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        return False
    return True

deadline = time.monotonic() + 60
agreed = 0
while agreed < 3 and time.monotonic() < deadline:
    found = {{target: reached(target) for target in wanted}}
    agreed = agreed + 1 if found == wanted else 0
    time.sleep(0.2)
print(json.dumps(found))
"""
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


def reached(sandbox: Sandbox, wanted: dict[str, bool], namespace: str, chosen: dict[str, str]) -> dict[str, bool]:
    """Return which Services a pod reaches, once they are those wanted, or else after a minute."""
    # By address: without DNS, which is closed to some, a name is not so much refused as waited for.
    addresses = {address(sandbox, service): service for service in wanted}
    script = SCRIPT.format(wanted=json.dumps({each: wanted[service] for each, service in addresses.items()}))
    found = json.loads(pods.python(sandbox, script, namespace=namespace, labels=chosen))
    return {addresses[each]: value for each, value in found.items()}


def address(sandbox: Sandbox, service: str) -> str:
    """Return the cluster's address and port of a Service."""
    namespace, _, name = service.partition("/")
    name, _, port = name.partition(":")
    path = "jsonpath={.spec.clusterIP}"
    return f"{kubectl(sandbox, '-n', namespace, 'get', 'service', name, '-o', path)}:{port}"


def test_an_evaluation_reaches_models_and_gateway_alone(sandbox: Sandbox, others: list[str]) -> None:
    wanted = {MODEL: True, GATEWAY: True, **dict.fromkeys(others, False)}
    assert reached(sandbox, wanted, "vllm-eval", labels.selector(labels.EVALUATION)) == wanted


def test_any_other_pod_of_the_namespace_reaches_nothing(sandbox: Sandbox, others: list[str]) -> None:
    wanted = dict.fromkeys((MODEL, GATEWAY, *others), False)
    assert reached(sandbox, wanted, "vllm-eval", {"app": "stranger"}) == wanted


def test_an_evaluation_may_ask_for_names(sandbox: Sandbox) -> None:
    script = ASK.format(name="model.serving.svc.cluster.local")
    said = pods.python(sandbox, script, namespace="vllm-eval", labels=labels.selector(labels.EVALUATION))
    assert said.strip() == address(sandbox, MODEL).partition(":")[0]


def test_the_gateway_is_closed_to_other_namespaces(sandbox: Sandbox, others: list[str]) -> None:
    # In the labels of an evaluation, too: its namespace counts.
    wanted = {MODEL: True, GATEWAY: False, **dict.fromkeys(others, True)}
    assert reached(sandbox, wanted, "serving", labels.selector(labels.EVALUATION)) == wanted
