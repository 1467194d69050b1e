"""The account of `workbench/ci/preview_reader.yaml` previews on the real engine, and can do nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support import program
from tests.support.apiserver import ApiServer
from tests.support.control_plane import CONTEXT, ControlPlane, control_plane
from tests.support.project import Project
from workbench.paths import REPOSITORY
from workbench.sandbox import chart

READER: Final = REPOSITORY / "workbench/ci/preview_reader.yaml"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("cluster")) as running:
        running.offer_volumes("standard")
        yield running


def as_reader(kubeconfig: Path) -> Path:
    """Return a kubeconfig whose only user is the account that previews."""
    config = yaml.safe_load(kubeconfig.read_text())
    for each in config["users"]:
        each["user"]["as"] = "system:serviceaccount:vllm-eval-ci:preview"
        each["user"]["as-groups"] = ["system:authenticated", "system:serviceaccounts"]
    path = kubeconfig.with_name("kubeconfig-of-the-reader")
    path.write_text(yaml.safe_dump(config))
    return path


def test_the_reader_previews_what_an_update_would_change(cluster: ControlPlane, tmp_path: Path) -> None:
    admin = ApiServer(cluster.api.url, cluster.api.token, Path(), cluster.kubeconfig.with_name("kubeconfig"))
    admin.kubectl("apply", f"--filename={READER}")
    groups: dict[str, Any] = program.stack_file("prod")
    groups["cluster"] = {"context": CONTEXT}
    groups["argocd"] = {"chart": str(chart.write(tmp_path / "chart"))}
    groups["monitoring"] = {"receivers": [{"name": "team", "kind": "slack"}]}
    project = Project(tmp_path, "prod", groups, cluster.kubeconfig)
    project.secret("receiver-team", "https://hooks.example.com/x")
    project.environment["KUBECONFIG"] = str(as_reader(cluster.kubeconfig))
    first = project.preview()
    assert any(each.op == "create" and each.title.startswith("Application") for each in first)
    before = cluster.snapshot()

    project.environment["KUBECONFIG"] = str(cluster.kubeconfig)
    project.up()
    assert cluster.snapshot() > before

    groups["evaluation"] = {"limit": 7}
    groups["monitoring"]["stale"] = "72h"
    project.write(groups)
    expected = project.preview()
    assert [each.title.split()[0] for each in expected] == ["PrometheusRule", "Application"]
    project.environment["KUBECONFIG"] = str(as_reader(cluster.kubeconfig))
    # The provider notes the kubeconfig's path, which in CI is the same for both.
    assert [each for each in project.preview() if each.title != "kubernetes cluster"] == expected
    refused = project.up(check=False)
    assert refused.code != 0
    reader = ApiServer(cluster.api.url, cluster.api.token, Path(), Path(project.environment["KUBECONFIG"]))
    told = reader.kubectl("--context", CONTEXT, "-n", "vllm-eval", "get", "secret", "vllm-eval-receivers", check=False)
    assert "(Forbidden)" in told
