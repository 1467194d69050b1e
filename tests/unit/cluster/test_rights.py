"""The rights that `make doctor` asks for are those that an update needs."""

import json
from typing import Any

import pytest

from components.settings.stack_file import needs
from tests.support import program
from workbench.cluster.surroundings import VERBS, wanted_rights

PLURALS = {"NetworkPolicy": "networkpolicies"}


def right(each: dict[str, Any]) -> tuple[str, str, str]:
    group = each["apiVersion"].rpartition("/")[0]
    resource = PLURALS.get(each["kind"], f"{each['kind'].lower()}s")
    namespace = "" if each["kind"] == "Namespace" else each["metadata"]["namespace"]
    return group, resource, namespace


GATEWAY = {"url": "http://gateway.monitoring.svc:9091", "network": {"namespace": "monitoring", "port": 9091}}


@pytest.mark.parametrize(
    ("name", "monitoring"), [("dev", {}), ("prod", {}), ("local", {}), ("dev", {"pushgateway": GATEWAY})]
)
def test_everything_that_a_stack_declares_is_asked_for_and_nothing_else(name: str, monitoring: dict[str, Any]) -> None:
    stack = program.with_every_secret(name, monitoring)
    asked = json.loads(json.dumps(needs(stack.settings)))
    here, there = wanted_rights(asked)
    known = {(each["group"], each["resource"], each.get("namespace", "")) for each in (*here, *there)}
    declared = {right(each.inputs) for each in stack.kubernetes() if each.kind not in {"Release", "Job", "CronJob"}}
    # Of an Argo CD's own objects, those that only an administrator may make stand for all.
    installed = {each for each in known if each[0] in {"apiextensions.k8s.io", "rbac.authorization.k8s.io"}}
    secrets_of_argocd = {("", "secrets", "argocd")}
    assert declared - secrets_of_argocd == known - installed - {("batch", "jobs", "vllm-eval")}
    assert (("batch", "jobs", "vllm-eval") in known) == stack.has("Job")
    assert {each["verb"] for each in (*here, *there)} == set(VERBS)
