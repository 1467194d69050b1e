"""What a stack declares of Argo CD: the release, and one project and Application."""

from pathlib import Path
from typing import Any

import pytest

from components import versions
from tests.support import objects, program
from tests.support.program import Stack
from workbench.toolchain import tools


def test_everything_of_argocd_that_runs_has_requests_and_a_memory_limit() -> None:
    values = program.run(program.stack_file("prod")).one("Release").inputs["values"]
    off = {"dex", "notifications"}
    assert all(values[name]["enabled"] is False for name in off)
    assert values["applicationSet"]["replicas"] == 0
    for name in ("controller", "repoServer", "server", "redis", "redisSecretInit"):
        assert values[name]["resources"]["requests"].keys() == {"cpu", "memory"}, name
        assert values[name]["resources"]["limits"].keys() == {"memory"}, name


def test_argocd_may_sync_this_repository_into_one_namespace(stack: Stack) -> None:
    project, application = stack.one("AppProject").inputs["spec"], stack.one("Application").inputs["spec"]
    assert application["project"] == "vllm-eval"
    assert project["sourceRepos"] == [application["source"]["repoURL"]]
    destination = {"server": "https://kubernetes.default.svc", "namespace": "vllm-eval"}
    assert project["destinations"] == [destination]
    assert application["destination"] == destination
    assert project["clusterResourceWhitelist"] == [{"group": "", "kind": "Namespace", "name": "vllm-eval"}]
    allowed = {(each["group"], each["kind"]) for each in project["namespaceResourceWhitelist"]}
    synced = {(each["apiVersion"].split("/")[0], kind) for kind, each in objects.synced().items()}
    assert allowed == synced
    assert "*" not in str(project)


def test_the_application_syncs_what_changed_and_nothing_else(stack: Stack) -> None:
    application = stack.one("Application")
    assert application.metadata["name"] == "vllm-evalchemy-job"
    assert application.metadata["namespace"] == "argocd"
    assert application.metadata["finalizers"] == ["resources-finalizer.argocd.argoproj.io"]
    assert application.metadata["annotations"]["argocd.argoproj.io/compare-options"] == "ServerSideDiff=false"
    spec = application.inputs["spec"]
    assert spec["source"]["path"] == "k8s"
    policy = spec["syncPolicy"]
    assert policy["automated"] == {"prune": True, "selfHeal": True}
    # Neither Replace nor ServerSideApply for all: the Job's own annotation says what it needs.
    assert policy["syncOptions"] == ["CreateNamespace=true", "ApplyOutOfSyncOnly=true"]
    assert policy["retry"]["limit"] > 0


def test_the_release_is_named_and_pinned(stack: Stack) -> None:
    release = stack.one("Release")
    assert release.inputs["name"] == "argocd"
    assert release.inputs["namespace"] == "argocd"
    assert release.inputs["version"] == versions.ARGOCD_CHART
    assert release.inputs["repositoryOpts"] == {"repo": versions.ARGOCD_CHART_REPOSITORY}
    assert release.inputs["timeout"] == 600
    values = release.inputs["values"]
    # The one that the sandbox compiles, and the end-to-end suite runs.
    assert values["global"]["image"]["tag"] == versions.ARGOCD_VERSION == f"v{tools.version('argocd')}"
    assert values["crds"]["keep"] is True


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ({"chart": "oci://registry.example/charts/argo-cd", "version": "9.9.9"}, {"version": "9.9.9"}),
        ({"repository": "https://mirror.example/helm"}, {"repositoryOpts": {"repo": "https://mirror.example/helm"}}),
        ({"timeout_seconds": 60}, {"timeout": 60}),
    ],
)
def test_the_chart_may_come_from_elsewhere(group: dict[str, Any], expected: dict[str, Any]) -> None:
    inputs = program.run({**program.stack_file("prod"), "argocd": group}).one("Release").inputs
    assert {key: inputs[key] for key in expected} == expected
    assert ("repositoryOpts" in inputs) == (not str(group.get("chart", "")).startswith("oci:"))


def test_a_local_chart_has_neither_repository_nor_version(tmp_path: Path) -> None:
    (tmp_path / "Chart.yaml").write_text("name: argo-cd\n")
    inputs = program.run({**program.stack_file("prod"), "argocd": {"chart": str(tmp_path)}}).one("Release").inputs
    assert inputs["chart"] == str(tmp_path)
    assert not inputs.keys() & {"version", "repositoryOpts"}


def test_values_are_laid_over_ours() -> None:
    over = {"server": {"replicas": 3}, "configs": {"cm": {"exec.enabled": "true"}}, "dex": {"enabled": True}}
    group = {"values": over, "reconciliation_seconds": 20, "url": "https://argocd.example.com"}
    values = program.run({**program.stack_file("prod"), "argocd": group}).one("Release").inputs["values"]
    assert values["server"]["replicas"] == 3
    assert values["server"]["resources"]["requests"] == {"cpu": "50m", "memory": "128Mi"}
    assert values["dex"]["enabled"] is True
    assert values["configs"]["cm"] == {
        "exec.enabled": "true",
        "timeout.reconciliation": "20s",
        "timeout.reconciliation.jitter": "10s",
        "admin.enabled": True,
        "url": "https://argocd.example.com",
    }


def test_an_argocd_of_others_is_left_alone() -> None:
    groups = {**program.stack_file("prod"), "argocd": {"install": False, "namespace": "gitops"}}
    found = program.run(groups)
    assert not found.has("Release")
    assert [each.metadata["name"] for each in found.kubernetes() if each.kind == "Namespace"] == ["vllm-eval"]
    assert found.one("Application").metadata["namespace"] == "gitops"
    assert "argocd_password_command" not in found.outputs


def test_self_heal_waits_until_what_a_sync_did_can_be_seen() -> None:
    params = program.run(program.stack_file("prod")).one("Release").inputs["values"]["configs"]["params"]
    assert int(params["controller.self.heal.timeout.seconds"]) >= 10
    # Any other value would put a backoff in the place of the timeout, and its first attempt comes at once.
    assert params["controller.self.heal.backoff.timeout.seconds"] == "0"
