"""The service of the reports: what its pod may read, reach and do, and who may ask it."""

from typing import Any

import pytest

from components import labels, patches
from components.job import load
from tests.support import objects, program
from tests.support.program import Stack

SHARED = {"access_mode": "ReadWriteMany"}


def served(report: dict[str, Any] | None = None, **evaluation: Any) -> Stack:  # noqa: ANN401 (settings)
    groups = program.stack_file("prod")
    changed = {"results": SHARED, **evaluation, "report": {"service": True, **(report or {})}}
    return program.run({**groups, "evaluation": {**groups.get("evaluation", {}), **changed}})


def pod_of(found: Stack) -> dict[str, Any]:
    spec: dict[str, Any] = found.one("Deployment", labels.REPORT).inputs["spec"]["template"]["spec"]
    return spec


def test_there_is_none_unless_asked_for() -> None:
    found = program.run(program.stack_file("prod"))
    assert not [each.identity for each in found.kubernetes() if each.metadata["name"] == labels.REPORT]


def test_the_pod_reads_the_claim_and_writes_nowhere_else() -> None:
    pod = pod_of(served())
    objects.assert_restricted(pod)
    (container,) = pod["containers"]
    mounts = {each["mountPath"]: each.get("readOnly", False) for each in container["volumeMounts"]}
    assert mounts == {"/tmp": False, "/results": True}  # noqa: S108 (the pod's own)
    assert {"name": "results", "persistentVolumeClaim": {"claimName": labels.RESULTS_CLAIM}} in pod["volumes"]
    assert container["args"][0] == "serve"
    assert {"name": "VLLM_EVAL_RESULTS", "value": "/results"} in container["env"]


def test_it_runs_the_image_of_the_job_unless_another_is_named() -> None:
    (job,) = patches.manifest()["spec"]["template"]["spec"]["containers"]
    assert pod_of(served())["containers"][0]["image"] == job["image"]
    assert pod_of(served({"image": "r.example/runner:v1"}))["containers"][0]["image"] == "r.example/runner:v1"
    groups = program.stack_file("dev")
    evaluation = {**groups["evaluation"], "results": SHARED, "report": {"service": True}}
    image = {"repository": "r.example/own", "tag": "v2"}
    dev = program.run({**groups, "evaluation": evaluation, "image": image}, stack="dev")
    assert pod_of(dev)["containers"][0]["image"] == "r.example/own:v2"


def test_a_built_image_is_built_once() -> None:
    groups = program.stack_file("dev")
    evaluation = {**groups["evaluation"], "results": SHARED, "report": {"service": True}}
    found = program.run({**groups, "evaluation": evaluation, "image": {"repository": "r.example/own", "build": True}})
    assert pod_of(found)["containers"][0]["image"] == f"r.example/own@sha256:{'b' * 64}"


def test_nobody_but_the_readers_may_ask_and_it_reaches_nothing() -> None:
    spec = served().one("NetworkPolicy", labels.REPORT).inputs["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec.get("ingress", []) == []
    assert spec.get("egress", []) == []
    found = served({"readers": [{"namespace": "ingress", "labels": {"app": "nginx"}}, {"namespace": "team"}]})
    (rule,) = found.one("NetworkPolicy", labels.REPORT).inputs["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8080}]
    name = "kubernetes.io/metadata.name"
    assert rule["from"] == [
        {"namespaceSelector": {"matchLabels": {name: "ingress"}}, "podSelector": {"matchLabels": {"app": "nginx"}}},
        {"namespaceSelector": {"matchLabels": {name: "team"}}},
    ]


def test_out_of_a_bucket_it_reaches_what_the_evaluation_may_reach() -> None:
    egress = [{"cidr": "10.0.0.0/8", "port": 443}]
    found = served(results={"url": "s3://bucket/prod"}, egress=egress)
    pod = pod_of(found)
    assert {"name": "VLLM_EVAL_RESULTS", "value": "s3://bucket/prod"} in pod["containers"][0]["env"]
    assert pod["serviceAccountName"] == labels.EVALUATION
    assert [each["name"] for each in pod["volumes"]] == ["tmp"]
    dns, bucket = found.one("NetworkPolicy", labels.REPORT).inputs["spec"]["egress"]
    assert {each["port"] for each in dns["ports"]} == {53}
    assert bucket == {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"protocol": "TCP", "port": 443}]}


def test_on_one_node_it_stands_where_the_evaluation_stands() -> None:
    node = {"nodeSelector": {"kubernetes.io/hostname": "node-7"}, "tolerations": [{"operator": "Exists"}]}
    found = served(results={}, pod=node)
    job = load(patches.of(found.settings), labels.NAMESPACE, "test")
    for pod in (pod_of(found), job["spec"]["template"]["spec"]):
        assert pod["nodeSelector"] == node["nodeSelector"]
        assert pod["tolerations"] == node["tolerations"]


@pytest.mark.parametrize("kind", ["Deployment", "Service"])
def test_no_update_waits_for_it(kind: str) -> None:
    assert served().one(kind, labels.REPORT).metadata["annotations"]["pulumi.com/skipAwait"] == "true"
