"""Each setting on the real engine and a real API server: the preview names exactly the objects that then change."""

import copy
from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml

from tests.support import fields, live, program
from tests.support.chart_repository import ChartRepository, chart_repository
from tests.support.control_plane import CONTEXT, ControlPlane, control_plane
from tests.support.project import Project, named
from workbench.cluster.stack import official
from workbench.paths import REPOSITORY
from workbench.toolchain import tools

pytestmark = pytest.mark.slow

# What this machine cannot have; `test_changes` has them all.
ELSEWHERE: Final = {
    "cluster.in_cluster": "no test is a pod",
    "image.lookup": "the Docker plugin is in no package registry",
    "image.build": "the Docker plugin is in no package registry",
}
# What would leave a cluster half changed is refused, and by which words.
REFUSED: Final = {
    "argocd.install": "must not go before its Application",
    "argocd.namespace": "helm would not take them over for the release argocd in namespace gitops",
}
# A claim never shrinks, so these stay as they were set.
GROWN: Final = {
    "evaluation.results": "20Gi",
    "evaluation.results.size": "30Gi",
    "monitoring.pushgateway": "2Gi",
    "monitoring.pushgateway.size": "3Gi",
}
CASES: Final[list[dict[str, Any]]] = yaml.safe_load((REPOSITORY / "tests/unit/components/changes.yaml").read_text())
CASES_HERE: Final = [each for each in CASES if each["path"] not in ELSEWHERE]
# Their claims are replaced, which the provider built from its module cannot preview; see docs/adr/pulumi-plugins.md.
OF_LATER_PROVIDERS: Final = (
    "evaluation.results.storage_class",
    "evaluation.results.access_mode",
    "monitoring.pushgateway.storage_class",
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("cluster")) as running:
        running.add_context("other")
        running.offer_volumes("standard", "nfs", "ssd")
        yield running


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChartRepository]:
    with chart_repository(tmp_path_factory.mktemp("charts")) as repository:
        yield repository


@pytest.fixture(scope="module")
def base(charts: ChartRepository) -> dict[str, Any]:
    groups = program.stack_file("prod")
    groups["cluster"] = {"context": CONTEXT}
    groups["argocd"] = {"chart": str(charts.folder)}
    # Kept objects could not be replaced, which is their purpose.
    groups["evaluation"] = {"results": {"keep": False}}
    return groups


@pytest.fixture(scope="module")
def project(cluster: ControlPlane, base: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(tmp_path_factory.mktemp("project"), "prod", base, cluster.kubeconfig)
    project.up()
    yield project
    project.destroy()


def prepared(base: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    groups = copy.deepcopy(base)
    for path, value in case.get("also", {}).items():
        fields.put(groups, path, {**value, "keep": False} if path == "evaluation.results" else value)
    return groups


def applied(groups: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    groups = copy.deepcopy(groups)
    value = case["to"]
    fields.put(groups, case["path"], {**value, "keep": False} if case["path"] == "evaluation.results" else value)
    return groups


def here(case: dict[str, Any], cluster: ControlPlane, charts: ChartRepository) -> dict[str, Any]:
    """Return a case with addresses that exist on this machine."""
    served = {
        "argocd.chart": "argo-cd",
        "argocd.repository": charts.url("one"),
        "argocd.version": tools.version("argocd"),
    }
    found: dict[str, dict[str, Any]] = {
        "cluster.server": {"to": cluster.api.url},
        "argocd.chart": {"to": str(charts.copy)},
        "argocd.repository": {"also": served, "to": charts.url("two")},
        "argocd.version": {"also": served, "to": charts.newer},
        "evaluation.results.size": {"to": GROWN["evaluation.results.size"]},
        "monitoring.pushgateway.size": {"to": GROWN["monitoring.pushgateway.size"]},
        # The base has it the other way.
        "evaluation.results.keep": {"to": True},
    }
    return {**case, **found.get(case["path"], {})}


def settle(project: Project, groups: dict[str, Any]) -> None:
    """Update to these settings, through `none` where the Job's owner is another one."""
    old = yaml.safe_load(project.file.read_text())["config"]["vllm-eval:evaluation"]
    new = groups["evaluation"]
    if old.get("owner") != new.get("owner"):
        project.write({**groups, "image": {}, "evaluation": {**new, "owner": "none"}})
        project.up()
    project.write(groups)
    project.up()


@pytest.mark.parametrize("case", CASES_HERE, ids=lambda each: each["path"])
def test_the_preview_names_what_then_changes(
    case: dict[str, Any], project: Project, cluster: ControlPlane, charts: ChartRepository, base: dict[str, Any]
) -> None:
    if case["path"] in OF_LATER_PROVIDERS and official() is None:
        pytest.skip("the provider built from its module (4.25) cannot preview another claim in its place")
    case = here(case, cluster, charts)
    before = prepared(base, case)
    for key, value in case.get("secrets", {}).items():
        project.secret(key, value)
    settle(project, before)
    was = cluster.contents()

    project.write(applied(before, case))
    if words := REFUSED.get(case["path"]):
        refused = project.pulumi("preview", check=False)
        assert refused.code != 0
        assert words in refused.out
        return
    digest = project.digest()
    project.up()
    if size := GROWN.get(case["path"]):
        fields.put(base, f"{case['path'].removesuffix('.size')}.size", size)
    changed = live.changes(was, cluster.contents())
    expected = {*case["changes"], *case.get("replaces", [])}
    assert named(digest) == expected
    assert changed == expected - {"provider"}
    lines = [each["message"] for each in digest.get("diagnostics", []) if "evaluation" in each["message"]]
    assert bool(lines) == bool(case.get("re-runs")), lines
    for key in case.get("secrets", {}):
        project.pulumi("config", "rm", f"vllm-eval:{key}")
