"""The real engine against a real API server: what an update makes, leaves alone, repairs and takes away."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import program
from tests.support.control_plane import CONTEXT, ControlPlane, control_plane
from tests.support.program import ENABLED_TASKS
from tests.support.project import JOB, KEPT, Project, Step, run_as_argocd
from workbench.cluster.stack import official
from workbench.sandbox import chart

CANARY = "c4n4ry-7f3a"
CRDS = {f"customresourcedefinitions /{each}.argoproj.io" for each in ("applications", "applicationsets", "appprojects")}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("cluster")) as running:
        running.offer_volumes("standard")
        yield running


@pytest.fixture(scope="module")
def argocd_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chart.write(tmp_path_factory.mktemp("chart"))


@pytest.fixture
def before(cluster: ControlPlane) -> set[str]:
    return cluster.snapshot()


def settings(stack: str, argocd_chart: Path) -> dict[str, Any]:
    """Return a committed stack's settings, on the cluster at hand and with the chart at hand."""
    groups = program.stack_file(stack)
    groups["cluster"] = {"context": CONTEXT}
    groups["argocd"] = {**groups.get("argocd", {}), "chart": str(argocd_chart)}
    return groups


def changed(groups: dict[str, Any], group: str, **values: object) -> dict[str, Any]:
    return {**groups, group: {**groups.get(group, {}), **values}}


def assert_settled(project: Project) -> None:
    """A second update, a preview and a refresh find nothing to do, nor a preview after what the refresh recorded."""
    project.up("--expect-no-changes")
    project.pulumi("preview", "--expect-no-changes")
    project.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    project.pulumi("preview", "--expect-no-changes")


def assert_settled_beside_argocds_job(project: Project, cluster: ControlPlane) -> None:
    """What Argo CD makes, and makes again, is no drift."""
    runs = set()
    for _ in range(2):
        run_as_argocd(cluster, project)
        runs.add(cluster.api.get(JOB)["metadata"]["uid"])
        project.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes")
        project.pulumi("preview", "--expect-no-changes")
    assert len(runs) == 2
    assert cluster.api.get(JOB)["metadata"]["uid"] in runs


def assert_tree(project: Project) -> None:
    """`pulumi stack graph` shows a component for each concern below the stack, and every object below its component."""
    project.pulumi("stack", "graph", "--ignore-dependency-edges", "stack.dot")
    text = (project.folder / "stack.dot").read_text()
    title = {node: urn.split("::", 2)[2] for node, urn in re.findall(r'(Resource\d+) \[label="([^"]+)"\]', text)}
    parent = {title[child]: title[above] for child, above in re.findall(r"(Resource\d+) -> (Resource\d+)", text)}
    (root,) = set(title.values()) - set(parent)
    assert root == f"pulumi:pulumi:Stack::vllm-eval-{project.stack}"
    components = {each.split("::")[1] for each, above in parent.items() if above == root}
    assert components >= {"alerts", "argocd", "dashboard", "evaluation", "gitops", "pushgateway"}
    for each, above in parent.items():
        if "$kubernetes:" in each:
            assert above.split("::")[0] == each.split("$")[0], each


def assert_destroyed(project: Project, cluster: ControlPlane, before: set[str], left: set[str] | None = None) -> None:
    """A destroy takes all but `left` and Argo CD's CRDs; the Application's finalizer is done while Argo CD lives."""
    finished = len(cluster.argocd.finished)
    project.destroy()
    assert len(cluster.argocd.finished) == finished + 1
    after = cluster.snapshot()
    assert after >= CRDS
    made = {each for each in after - before - CRDS if not each.endswith(("/kube-root-ca.crt", "/default"))}
    assert made == (left or set())


def test_production_and_what_outlives_it(
    cluster: ControlPlane, argocd_chart: Path, tmp_path: Path, before: set[str]
) -> None:
    groups = settings("prod", argocd_chart)
    project = Project(tmp_path, "prod", groups, cluster.kubeconfig)
    # Before the first update a cluster rightly lacks Argo CD's kinds.
    cluster.delete_argocds_kinds()
    assert Step("create", "Application application") in project.preview()
    project.up()
    assert_settled(project)
    assert_settled_beside_argocds_job(project, cluster)
    assert_tree(project)

    there = cluster.snapshot()
    refused = project.pulumi("destroy", "--yes", check=False)
    assert refused.code != 0
    assert "protected" in refused.out
    assert cluster.snapshot() == there

    project.pulumi("state", "unprotect", "--all", "--yes")
    assert_destroyed(project, cluster, before, KEPT)

    project.write(changed(groups, "cluster", adopt=True))
    project.up()
    project.write(changed(groups, "evaluation", results={"keep": False}))
    project.up()
    assert project.preview() == []
    assert_destroyed(project, cluster, before)


@pytest.mark.skipif(
    official() is None,
    reason="the provider built from its module is older than 4.29 and takes over what exists without being told",
)
def test_what_exists_is_taken_over_only_when_told_so(cluster: ControlPlane, argocd_chart: Path, tmp_path: Path) -> None:
    groups = settings("local", argocd_chart)
    project = Project(tmp_path, "local", groups, cluster.kubeconfig)
    namespace = "/api/v1/namespaces/vllm-eval"
    cluster.api.apply(namespace, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "vllm-eval"}})
    assert project.up(check=False).code != 0
    project.write(changed(groups, "cluster", adopt=True))
    project.up()
    project.destroy()


def test_a_developers_stack_and_its_way_to_another_owner(
    cluster: ControlPlane, argocd_chart: Path, tmp_path: Path, before: set[str]
) -> None:
    groups = settings("dev", argocd_chart)
    project = Project(tmp_path, "dev", groups, cluster.kubeconfig)
    line = f"This re-runs the evaluation: 1 model x {ENABLED_TASKS}."
    assert line in project.up().out
    assert_settled(project)
    run = cluster.api.get(JOB)["metadata"]["uid"]

    project.write(changed(groups, "evaluation", limit=3))
    assert Step("replace", "Job evalchemy") in project.preview()
    assert line in project.up().out
    assert cluster.api.get(JOB)["metadata"]["uid"] != run

    # Against what lives in the cluster, and, when that is gone, against what the state says.
    project.write(changed(groups, "evaluation", owner="argocd"))
    refused = project.pulumi("preview", check=False)
    assert refused.code != 0
    assert (
        "The Job vllm-eval/evalchemy is still Pulumi's: run `pulumi up` with evaluation.owner none first" in refused.out
    )
    cluster.api.request("DELETE", JOB, {"propagationPolicy": "Background"})
    refused = project.pulumi("preview", check=False)
    assert refused.code != 0
    assert "evaluation.owner cannot change from pulumi to argocd in one update" in refused.out

    project.write(changed(groups, "evaluation", owner="none"))
    project.up()
    assert cluster.api.get(JOB) is None
    project.write(changed(groups, "evaluation", owner="argocd"))
    assert line in project.up().out
    assert project.preview() == []
    assert_destroyed(project, cluster, before)


def test_argocds_job_is_no_drift_and_what_hands_change_is_repaired(
    cluster: ControlPlane, argocd_chart: Path, tmp_path: Path, before: set[str]
) -> None:
    project = Project(tmp_path, "local", settings("local", argocd_chart), cluster.kubeconfig)
    project.up()
    assert_settled(project)

    assert_settled_beside_argocds_job(project, cluster)

    # The way from Argo CD to Pulumi is refused against what lives, and, when that is gone, against the state.
    owned = changed(settings("local", argocd_chart), "evaluation", owner="pulumi")
    project.write(owned)
    refused = project.pulumi("preview", check=False)
    assert refused.code != 0
    assert "The Job vllm-eval/evalchemy is still there and is not Pulumi's. If Argo CD owns it" in refused.out
    cluster.api.request("DELETE", JOB, {"propagationPolicy": "Background"})
    refused = project.pulumi("preview", check=False)
    assert refused.code != 0
    assert "evaluation.owner cannot change from argocd to pulumi in one update" in refused.out
    project.write(changed(owned, "evaluation", owner="none"))
    assert project.preview() == [Step("update", "Application application")]
    project.up()
    project.write(owned)
    assert f"This re-runs the evaluation: 1 model x {ENABLED_TASKS}." in project.up().out
    assert cluster.api.get(JOB)["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "pulumi"
    assert_settled(project)

    policy = "/apis/networking.k8s.io/v1/namespaces/vllm-eval/networkpolicies/default-deny"
    cluster.api.request("DELETE", policy)
    service = "/api/v1/namespaces/vllm-eval/services/vllm-eval-pushgateway"
    body = {"spec": {"selector": {"app.kubernetes.io/name": "somebody-else"}}}
    cluster.api.request("PATCH", service, body, "application/merge-patch+json")
    application = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/vllm-evalchemy-job"
    switched_off = {"spec": {"syncPolicy": {"automated": {"selfHeal": False}}}}
    cluster.api.request("PATCH", application, switched_off, "application/merge-patch+json")
    cluster.api.request("DELETE", JOB, {"propagationPolicy": "Background"})
    drifted = {step.title for step in project.preview("--refresh") if step.op != "refresh"}
    assert drifted == {"NetworkPolicy default-deny", "Service service", "Application application", "Job evalchemy"}
    project.up("--refresh")
    assert cluster.api.get(policy) is not None
    assert cluster.api.get(application)["spec"]["syncPolicy"]["automated"]["selfHeal"] is True
    assert cluster.api.get(JOB) is not None
    selector = cluster.api.get(service)["spec"]["selector"]
    assert selector["app.kubernetes.io/name"] == "vllm-eval-pushgateway"
    assert project.preview() == []
    assert_destroyed(project, cluster, before)


def test_a_hundred_models_and_no_secret_in_sight(
    cluster: ControlPlane, argocd_chart: Path, tmp_path: Path, before: set[str]
) -> None:
    hub = {"hub": {"network": {"cidr": "0.0.0.0/0", "port": 443}}}
    groups = changed(settings("prod", argocd_chart), "evaluation", results={"keep": False}, data=hub)
    model = {**groups["models"][0], "endpoint": "https://models.example.com/v1"}
    groups["models"] = [{**model, "name": f"m{index}", "tag": f"t{index}", "api_key": "key"} for index in range(100)]
    groups["models"][0]["ca"] = "ca"
    project = Project(tmp_path, "hundred", groups, cluster.kubeconfig)
    secrets = {
        "endpoint-key": f"{CANARY}-key",
        "endpoint-ca": f"-----BEGIN CERTIFICATE-----\n{CANARY}-ca",
        "git-password": f"{CANARY}-git",
        "huggingface-token": f"{CANARY}-hf",
        "registry-credentials": f'{{"auths": {{"ghcr.io": {{"auth": "{CANARY}-pull"}}}}}}',
        "argocd-admin-hash": f"$2a$10${CANARY:x<53}",
    }
    for key, value in secrets.items():
        project.secret(key, value)
    project.pulumi("preview", "--diff")
    project.up("--diff")
    assert_settled(project)
    project.secret("endpoint-key", f"{CANARY}-rotated")
    assert project.preview() == [Step("update", "Secret endpoints")]
    project.pulumi("preview", "--diff")
    project.up("--diff")
    project.run(["pulumi", "config", "rm", "vllm-eval:git-password"], check=True)
    project.secret("git-ssh-key", f"-----BEGIN OPENSSH PRIVATE KEY-----\n{CANARY}-ssh")
    project.write(changed(groups, "git", repository="ssh://git@git.example.com/x.git"))
    project.pulumi("preview", "--diff")
    project.up("--diff")
    for words in (("output", "--json"), ("export",), ("history", "--json"), ("graph", "stack.dot")):
        project.pulumi("stack", *words)

    held = cluster.api.get("/api/v1/namespaces/vllm-eval/secrets/vllm-eval-endpoints")["data"]
    assert set(held) == {"key", "ca"}
    assert CANARY in base64.b64decode(held["key"]).decode()
    assert_destroyed(project, cluster, before)
    for form in forms_of(CANARY):
        assert form not in project.state()
        assert form not in project.file.read_text()
        assert [each for each in project.printed if form in each] == []


def forms_of(text: str) -> set[str]:
    """Return a text and what base64 makes of it, wherever in a longer text it stands."""
    encoded = (base64.b64encode(b"x" * before + text.encode() + b"x" * 3).decode() for before in range(3))
    # The first and the last letters also depend on the neighbours.
    return {text, *(each[4:-8] for each in encoded)}
