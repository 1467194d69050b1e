"""What the engine is told besides the objects: tree, order, provider, options."""

import pytest

from tests.support import objects, program
from tests.support.program import Stack


def test_every_object_has_a_component_as_parent_and_every_component_registers_outputs(stack: Stack) -> None:
    components = {urn: each for urn, each in stack.resources.items() if not each.custom}
    assert {each.type for each in components.values()} == {
        "vllm-eval:evaluation:Evaluation",
        "vllm-eval:pushgateway:Pushgateway",
        "vllm-eval:alerts:Alerts",
        "vllm-eval:dashboard:Dashboard",
        "vllm-eval:argocd:ArgoCD",
        "vllm-eval:gitops:GitOps",
        *(["vllm-eval:job:Job"] if stack.settings.stack == "dev" else []),
    }
    assert set(components) <= stack.registered
    for each in stack.kubernetes():
        assert each.parent in components, each.identity


def test_every_object_is_made_by_the_pinned_provider(stack: Stack) -> None:
    (provider,) = [each for each in stack.resources.values() if each.type == "pulumi:providers:kubernetes"]
    assert provider.inputs["context"] == stack.settings.cluster.context
    assert provider.inputs["clusterIdentifier"] == stack.settings.stack
    assert provider.inputs["enableConfigMapMutable"] == "true"
    assert provider.inputs["enableSecretMutable"] == "true"
    # No object has two owners (test_stack), so force ends no fight: it repairs what a hand has changed.
    assert provider.inputs["enablePatchForce"] == "true"
    assert not provider.inputs.keys() & {"deleteUnreachable", "skipUpdateUnreachable", "kubeconfig"}
    for each in stack.kubernetes():
        assert each.provider.startswith(provider.urn), each.identity


def test_the_application_comes_last_and_goes_first(stack: Stack) -> None:
    application = stack.one("Application")
    needed = {stack.resources[urn].identity for urn in stack.needs(application) if stack.resources[urn].is_kubernetes}
    others = {each.identity for each in stack.kubernetes()} - {application.identity}
    # Nothing waits for these two, and their absence holds nobody up.
    others -= {("PrometheusRule", "vllm-eval", "vllm-eval"), ("ConfigMap", "vllm-eval", "vllm-eval-dashboard")}
    others -= {("Job", "vllm-eval", "evalchemy")}
    assert needed == others


def test_argocd_outlives_its_application(stack: Stack) -> None:
    application = stack.one("Application")
    release, project = stack.one("Release"), stack.one("AppProject")
    assert release.urn in stack.needs(application)
    assert release.urn in application.dependencies
    assert release.urn in stack.needs(project)
    assert project.urn in application.dependencies
    assert stack.one("Namespace", "argocd").urn in release.dependencies


def test_pulumis_job_waits_until_argocd_has_let_go_of_it() -> None:
    stack = program.run(program.stack_file("dev"))
    job = stack.one("Job")
    assert stack.one("Application").urn in job.dependencies
    assert job.delete_before_replace
    # Not awaited, neither at its start nor by a refresh; gone, for one that follows, as soon as it is deleted.
    assert job.metadata["annotations"]["pulumi.com/skipAwait"] == "true"
    assert job.metadata["annotations"]["pulumi.com/deletionPropagationPolicy"] == "background"
    assert "pulumi.com/waitFor" not in job.metadata["annotations"]
    assert job.metadata["labels"]["app.kubernetes.io/managed-by"] == "pulumi"


def test_a_hundred_models_are_as_many_resources_as_one() -> None:
    groups = program.stack_file("prod")
    model = groups["models"][0]
    many = [{**model, "name": f"m{index}", "tag": f"t{index}"} for index in range(100)]
    assert len(program.run({**groups, "models": many}).resources) == len(program.run(groups).resources)


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ({"in_cluster": True}, {}),
        ({"context": "c", "adopt": True}, {"context": "c", "upsertExistingObjects": "true"}),
    ],
)
def test_other_ways_to_a_cluster(cluster: dict[str, object], expected: dict[str, str]) -> None:
    stack = program.run({**program.stack_file("prod"), "cluster": cluster})
    (provider,) = [each for each in stack.resources.values() if each.type == "pulumi:providers:kubernetes"]
    mutable = {"enableConfigMapMutable": "true", "enableSecretMutable": "true"}
    always = {"clusterIdentifier": "test", "enablePatchForce": "true", **mutable}
    assert provider.inputs == {**always, **expected}


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, None),
        ({"repository": "r.example/x"}, "r.example/x:latest"),
        ({"repository": "r.example/x", "tag": "v1"}, "r.example/x:v1"),
        ({"repository": "r.example/x", "digest": "sha256:" + "c" * 64}, "r.example/x:latest@sha256:" + "c" * 64),
        ({"repository": "r.example/x", "lookup": True}, "r.example/x:latest@sha256:" + "a" * 64),
        ({"repository": "r.example/x", "build": True}, "r.example/x@sha256:" + "b" * 64),
    ],
)
def test_the_image_of_pulumis_job(image: dict[str, object], expected: str | None) -> None:
    if expected is None:  # what Git says, which CI rewrites
        (container,) = objects.synced()["Job"]["spec"]["template"]["spec"]["containers"]
        expected = container["image"]
    stack = program.run({**program.stack_file("dev"), "image": image})
    (container,) = stack.one("Job").inputs["spec"]["template"]["spec"]["containers"]
    assert container["image"] == expected
    built = [each for each in stack.resources.values() if each.type == "docker:index/image:Image"]
    assert len(built) == bool(image.get("build"))
    if built:
        assert built[0].inputs["imageName"] == "r.example/x:latest"
        assert built[0].inputs["build"]["dockerfile"].endswith("/docker/evalchemy.Dockerfile")
        assert not built[0].inputs.get("buildOnPreview")
