"""What is read out of a stack's state; test_context_up has the states of real updates."""

import json
from typing import Any

import pytest

from components.labels import MODELS_ANNOTATION
from components.labels import PROVIDER as PROVIDER_NAME
from workbench.cluster import recorded
from workbench.cluster.recorded import PROVIDER
from workbench.shell import WorkbenchError


def state(context: str | None, *models: str) -> recorded.Resources:
    annotations = {MODELS_ANNOTATION: json.dumps([{"name": each} for each in models])}
    job = {"kind": "Job", "spec": {"template": {"metadata": {"annotations": annotations}}}}
    patches = [{"patch": json.dumps(each)} for each in (job, {"kind": "CronJob", "spec": {}})]
    application: dict[str, Any] = {
        "type": "kubernetes:argoproj.io/v1alpha1:Application",
        "inputs": {"spec": {"source": {"kustomize": {"patches": patches}}}},
    }
    urn = f"urn:pulumi:dev::vllm-eval::{PROVIDER}::"
    provider: dict[str, Any] = {"type": PROVIDER, "inputs": {"context": context} if context else {}}
    hub: dict[str, Any] = {"type": PROVIDER, "inputs": {"context": "hub"}, "urn": f"{urn}hub"}
    resources = [
        {"type": "pulumi:pulumi:Stack", "urn": ""},
        {**provider, "urn": f"{urn}{PROVIDER_NAME}"},
        hub,
        application,
    ]
    return recorded.of(json.dumps({"version": 3, "deployment": {"resources": resources}}))


@pytest.mark.parametrize("deployment", [None, {}, {"resources": None}, {"resources": []}])
def test_a_stack_that_was_never_deployed_is_refused_nothing(deployment: dict[str, Any] | None) -> None:
    resources = recorded.of(json.dumps({"deployment": deployment}))
    recorded.check_context(resources, "dev", "mine")
    recorded.check_models(resources, "dev", "m")


def test_another_cluster_is_named() -> None:
    recorded.check_context(state("mine"), "dev", "mine")
    with pytest.raises(
        WorkbenchError, match="deployed to the cluster of context 'theirs', not to that of CONTEXT 'mine'"
    ):
        recorded.check_context(state("theirs"), "dev", "mine")
    with pytest.raises(WorkbenchError, match="deployed to the cluster of the pod that it ran in, not"):
        recorded.check_context(state(None), "dev", "mine")


def test_models_that_would_lose_their_scores_are_named() -> None:
    recorded.check_models(state("mine", "m"), "dev", "m")
    recorded.check_models(state("mine"), "dev", "m")
    with pytest.raises(WorkbenchError) as refused:
        recorded.check_models(state("mine", "m", "b", "a"), "dev", "m")
    assert str(refused.value).startswith("the stack dev evaluates a, b: with MODEL 'm' in their place")
    assert "write the model into Pulumi.dev.yaml" in str(refused.value)
