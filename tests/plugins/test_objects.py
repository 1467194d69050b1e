"""The life of objects under the real engine, on a real API server: made, changed, repaired, replaced, gone."""

import json

from tests.plugins.engine import CANARY, Stack
from tests.support.apiserver import ApiServer

MUTABLE = "enable_config_map_mutable=True, enable_secret_mutable=True"
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
WHOLE = f"""
    crd = k8s.apiextensions.v1.CustomResourceDefinition(
        "crd", metadata={CRD["metadata"]}, spec={CRD["spec"]}, opts=opts
    )
    namespace = k8s.core.v1.Namespace("namespace", metadata={{"name": "whole"}}, opts=opts)
    def called(name, **more):
        return {{"name": name, "namespace": namespace.metadata.name, **more}}
    k8s.core.v1.ConfigMap("settings", metadata=called("settings"), data={{"a": "1"}}, opts=opts)
    canary = pulumi.Config().require_secret("canary")
    k8s.core.v1.Secret("secret", metadata=called("secret"), string_data={{"key": canary, "other": "x"}}, opts=opts)
    k8s.apps.v1.Deployment(
        "workload",
        metadata=called("workload", annotations={{"pulumi.com/skipAwait": "true"}}),
        spec={{
            "selector": {{"matchLabels": {{"app": "w"}}}},
            "template": {{"metadata": {{"labels": {{"app": "w"}}}}, "spec": {{"containers": [{{
                "name": "c",
                "image": "none",
                # The API server writes these as 1, 1Gi and "2", and adds a dozen fields.
                "resources": {{"requests": {{"cpu": "1000m", "memory": "1024Mi"}}, "limits": {{"cpu": 2}}}},
            }}]}}}},
        }},
        opts=opts,
    )
    k8s.core.v1.PersistentVolumeClaim(
        "claim",
        metadata=called("claim", annotations={{"pulumi.com/skipAwait": "true"}}),
        spec={{
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": None,
            "resources": {{"requests": {{"storage": "1024Mi"}}}},
        }},
        opts=opts,
    )
    after = pulumi.ResourceOptions(provider=provider, depends_on=[crd])
    # The garbage collector takes up to 30 s to learn of a new kind: a foreground deletion would wait for it.
    lightly = {{"pulumi.com/deletionPropagationPolicy": "background"}}
    k8s.apiextensions.CustomResource(
        "widget", api_version="example.com/v1", kind="Widget", metadata=called("widget", annotations=lightly),
        spec={{"size": 3, "ratio": 0.5}}, opts=after,
    )
"""


def test_a_stack_from_nothing_to_nothing(stack: Stack, server: ApiServer) -> None:
    stack.program(WHOLE, options=MUTABLE)
    # Neither the namespace nor the custom resource's kind is there yet.
    assert set(stack.steps().values()) == {"create"}
    stack.up("--diff")
    widget = server.get("widget", "widget", "whole")
    assert widget
    assert widget["spec"] == {"size": 3, "ratio": 0.5}
    made = stack.resources()
    assert made["workload"]["id"] == "whole/workload"
    assert made["crd"]["id"] == "widgets.example.com"

    stack.refresh("--expect-no-changes")
    stack.up("--expect-no-changes")

    # A key that is no longer declared leaves the Secret; the object stays the same one.
    old = server.get("secret", "secret", "whole")
    assert old
    assert set(old["data"]) == {"key", "other"}
    stack.program(WHOLE.replace('"other": "x"', '"third": "y"'), options=MUTABLE)
    assert "1 updated" in stack.up("--diff").out
    new = server.get("secret", "secret", "whole")
    assert new
    assert set(new["data"]) == {"key", "third"}
    assert new["metadata"]["uid"] == old["metadata"]["uid"]
    assert CANARY not in stack.state()
    assert [each for each in stack.printed if CANARY in each] == []

    done = stack.destroy().out
    assert done.index("Widget widget deleted") < done.index("CustomResourceDefinition crd deleted")
    assert done.index("Secret secret deleted") < done.index("Namespace namespace deleted")
    assert server.get("namespace", "whole") is None
    assert server.get("crd", "widgets.example.com") is None


def test_drift_is_seen_and_repaired_as_far_as_allowed(stack: Stack, server: ApiServer) -> None:
    body = """
        for name in ("kept", "lost"):
            k8s.core.v1.ConfigMap(name, metadata={"name": f"drift-{name}"}, data={"a": "1"}, opts=opts)
    """
    stack.program(body, options=MUTABLE)
    stack.up()
    patch = {"metadata": {"labels": {"theirs": "yes"}}, "data": {"a": "2", "theirs": "yes"}}
    server.kubectl("patch", "configmap", "drift-kept", f"--patch={json.dumps(patch)}")
    server.kubectl("delete", "configmap", "drift-lost")
    # As the official provider does: a field that somebody else has set is taken over only on request.
    refused = stack.up("--refresh", check=False)
    assert refused.code != 0
    assert "ConfigMap default/drift-kept is also changed by others" in refused.out
    assert "kubectl-patch" in refused.out
    assert "enable_patch_force" in refused.out

    stack.program(body, options=f"{MUTABLE}, enable_patch_force=True")
    stack.up("--refresh")
    live = server.get("configmap", "drift-kept")
    assert live
    # What was never declared is another owner's.
    assert live["data"] == {"a": "1", "theirs": "yes"}
    assert live["metadata"]["labels"] == {"theirs": "yes"}
    assert server.get("configmap", "drift-lost")
    stack.destroy()


def test_immutable_fields_replace_and_the_old_object_goes_first(stack: Stack, server: ApiServer) -> None:
    body = """
        k8s.core.v1.ConfigMap("data", metadata={"name": "replace-data"}, data={"a": "1"}, opts=opts)
        k8s.core.v1.ConfigMap("named", metadata={"name": "replace-old"}, data={"a": "1"}, opts=opts)
        k8s.core.v1.ConfigMap("unnamed", data={"a": "1"}, opts=opts)
        k8s.batch.v1.Job(
            "job",
            metadata={"name": "replace-job", "annotations": {"pulumi.com/waitFor": "jsonpath={.kind}=Job"}},
            spec={"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "one"}]}}},
            opts=opts,
        )
    """
    stack.program(body)
    stack.up()
    old = server.get("job", "replace-job")
    assert old
    changed = body.replace('"a": "1"', '"a": "2"').replace("replace-old", "replace-new").replace('"one"', '"two"')
    stack.program(changed)
    done = stack.up().out
    new = server.get("job", "replace-job")
    assert new
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    # Under a fixed name the old one has to be gone first, otherwise it goes when the new one is there.
    assert done.index("Job job deleted original") < done.index("Job job created replacement")
    assert done.index("ConfigMap data deleted original") < done.index("ConfigMap data created replacement")
    assert done.index("ConfigMap named created replacement") < done.index("ConfigMap named deleted original")
    assert done.index("ConfigMap unnamed created replacement") < done.index("ConfigMap unnamed deleted original")
    assert server.get("configmap", "replace-old") is None
    stack.destroy()
