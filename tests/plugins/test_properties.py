"""What is said of two sets of properties, and of an object's kind: pure functions, by property where they have one."""

import copy
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from sandbox.plugins import kinds, properties
from sandbox.plugins.properties import SECRET, SIGNATURE, Change, as_declared, changes
from sandbox.plugins.server import PluginError

scalars = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text("abc", max_size=3)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.", min_size=1, max_size=2), inner)
)
trees = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


def marked(value: object) -> dict[str, Any]:
    return {SIGNATURE: SECRET, "value": value}


@given(trees)
def test_the_wire_keeps_every_value(tree: dict[str, Any]) -> None:
    assert properties.read(properties.write(tree)) == tree


@given(trees, trees)
def test_only_equal_trees_have_no_changes(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert (list(changes(old, new)) == []) == (old == new)


@given(trees)
def test_what_is_as_applied_is_as_declared(tree: dict[str, Any]) -> None:
    assert as_declared({**tree, "z": 1}, tree, {**tree, "z": 1}) == tree
    assert as_declared({"other": tree}, {"other": "written otherwise"}, {"other": tree}) == {
        "other": "written otherwise"
    }


def test_changes_are_named_in_the_engines_notation() -> None:
    old = {"spec": {"keys": ["a", "b"], "gone": 1}, "metadata": {"labels": {"app.kubernetes.io/name": "x"}}}
    new = {"spec": {"keys": ["a", "c", "d"], "new": {"x": 1}}, "metadata": {"labels": {"app.kubernetes.io/name": "y"}}}
    assert list(changes(old, new)) == [
        Change('metadata.labels["app.kubernetes.io/name"]', "UPDATE"),
        Change("spec.gone", "DELETE"),
        Change("spec.keys[1]", "UPDATE"),
        Change("spec.keys[2]", "ADD"),
        Change("spec.new", "ADD"),
    ]


def test_drift_is_what_would_change_by_applying() -> None:
    declared = {"cpu": "1000m", "ports": [{"port": 80}], "labels": {}, "data": {"a": "1", "b": "2"}}
    applied = {"cpu": "1", "ports": [{"port": 80, "protocol": "TCP"}], "data": {"a": "1", "b": "2"}, "more": True}
    assert as_declared(copy.deepcopy(applied), declared, applied) == declared
    live = {"cpu": "2", "ports": [{"port": 81, "protocol": "TCP"}], "data": {"a": "1"}, "more": False}
    assert as_declared(live, declared, applied) == {
        "cpu": "2", "ports": [{"port": 81}], "labels": {}, "data": {"a": "1"},
    }  # fmt: skip
    assert as_declared({**applied, "ports": []}, declared, applied)["ports"] == []


def test_secrets_are_read_in_plain_and_leave_marked() -> None:
    message = Struct()
    message.update({"values": {"a": marked({"b": 1}), "c": 2}, "list": [marked("x"), "y"]})
    plain = properties.read(message)
    assert plain == {"values": {"a": {"b": 1}, "c": 2}, "list": ["x", "y"]}
    assert properties.write(plain, message) == message
    # Which of them is the secret one cannot be told any more.
    longer = properties.write({"list": ["z", "x", "y"]}, message)
    assert dict(longer["list"])[SIGNATURE] == SECRET
    held = properties.write({"kind": "Secret", "data": {"a": "eA=="}})
    assert dict(held["data"])[SIGNATURE] == SECRET


@pytest.mark.parametrize(
    ("kind", "options", "path", "replaced"),
    [
        ("ConfigMap", (), "data", True),
        ("ConfigMap", ("enableConfigMapMutable",), "data", False),
        ("Secret", ("enableConfigMapMutable",), "data", True),
        ("Secret", ("enableSecretMutable",), "data", False),
        ("Secret", ("enableSecretMutable",), "type", True),
        ("Job", (), "spec.template", True),
        ("Deployment", (), "spec.template", False),
        ("Deployment", (), "metadata.namespace", True),
        ("PersistentVolumeClaim", (), "spec.resources", False),
    ],
)
def test_what_replaces_an_object(kind: str, options: tuple[str, ...], path: str, replaced: bool) -> None:
    assert (path in kinds.immutable({"kind": kind, "metadata": {}}, frozenset(options))) is replaced


def workload(kind: str = "Deployment", **annotations: str) -> dict[str, Any]:
    named = {f"pulumi.com/{name}": value for name, value in annotations.items()}
    return {"kind": kind, "metadata": {"annotations": named, "generation": 2}, "spec": {"replicas": 2}}


def status(**counts: int) -> dict[str, Any]:
    whole = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    return {**workload(), "status": {**whole, **counts}}


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_a_workload_is_ready_when_all_of_the_new_and_none_of_the_old_runs(kind: str) -> None:
    assert kinds.is_ready(workload(kind), status())
    for field, count in (("observedGeneration", 1), ("replicas", 3), ("updatedReplicas", 1), ("availableReplicas", 1)):
        assert not kinds.is_ready(workload(kind), status(**{field: count})), field
    assert not kinds.is_ready(workload(kind), {})
    assert kinds.is_ready(workload(kind, skipAwait="true"), {})
    assert kinds.is_ready(workload("Job"), {})


@pytest.mark.parametrize(
    ("wanted", "ready"),
    [
        ("jsonpath={.spec.replicas}=2", True),
        ("jsonpath={.spec.replicas}=3", False),
        ("jsonpath={.spec.replicas}", True),
        ("jsonpath={.spec.nothing}", False),
        ("condition=Available", True),
        ("condition=Available=False", False),
        ("condition=Other", False),
        ('["condition=Available", "jsonpath={.kind}=Deployment"]', True),
        ('["condition=Available", "jsonpath={.kind}=Job"]', False),
    ],
)
def test_what_is_waited_for_can_be_said(wanted: str, ready: bool) -> None:
    live = {**workload(), "status": {"conditions": [{"type": "Available", "status": "True"}]}}
    assert kinds.is_ready(workload(waitFor=wanted), live) is ready


def test_a_wait_that_is_not_understood_is_refused() -> None:
    with pytest.raises(PluginError, match=r"neither condition=NAME nor a jsonpath="):
        kinds.is_ready(workload(waitFor="jsonpath={.items[*].x}=1"), workload())
