"""What a stack cannot be declared on is one plain sentence of the real engine, before anything is declared."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import program
from tests.support.apiserver import CONTEXT, ApiServer, running_apiserver
from tests.support.project import Project, Step
from workbench.paths import REPOSITORY
from workbench.sandbox import chart
from workbench.toolchain.tools import module_source


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server with the kinds that every cluster has."""
    with running_apiserver(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def refusal(folder: Path, kubeconfig: Path | None, **groups: Any) -> list[str]:  # noqa: ANN401 (settings of any kind)
    """Return the lines of the error of a preview of production."""
    given = {**program.stack_file("prod"), "cluster": {"context": CONTEXT}, **groups}
    done = Project(folder, "prod", given, kubeconfig).pulumi("preview", check=False)
    assert done.code != 0
    assert "Traceback" not in done.out
    diagnostics = done.out.partition("Diagnostics:\n")[2].partition("\nResources:")[0]
    (told,) = re.findall(r"^    error: (.*)", diagnostics, re.MULTILINE | re.DOTALL)
    return [line.strip() for line in str(told).strip().splitlines()]


def access(server: str, token: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": token}}],
    }


def crd(plural: str) -> Path:
    found = module_source("prometheus-operator") / "example/prometheus-operator-crd"
    return found / f"monitoring.coreos.com_{plural}.yaml"


def test_missing_kinds_of_the_operator(server: ApiServer, tmp_path: Path) -> None:
    for number, (installed, missing) in enumerate(
        [(None, "no PrometheusRule and no ServiceMonitor"), ("servicemonitors", "no PrometheusRule")]
    ):
        if installed:
            server.kubectl("create", "--filename", str(crd(installed)))
            server.await_definitions()
        folder = tmp_path / str(number)
        folder.mkdir()
        (line,) = refusal(folder, server.kubeconfig)
        assert line.startswith(f"The cluster has {missing}: ")


@pytest.fixture
def accepted(tmp_path: Path) -> dict[str, Any]:
    """Production, as far as it can be previewed on a bare API server; the chart is no address to ask."""
    argocd = {"chart": str(chart.write(tmp_path / "chart"))}
    monitoring = {"enabled": False}
    return {**program.stack_file("prod"), "cluster": {"context": CONTEXT}, "argocd": argocd, "monitoring": monitoring}


def test_before_the_first_update_argocds_kinds_are_rightly_missing(
    server: ApiServer, tmp_path: Path, accepted: dict[str, Any]
) -> None:
    steps = Project(tmp_path, "prod", accepted, server.kubeconfig).preview()
    assert Step("create", "Application application") in steps
    assert {step.op for step in steps} == {"create"}


def test_a_login_that_the_cluster_refuses(server: ApiServer, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(access(server.url, "wrong")))
    (line,) = refusal(tmp_path, kubeconfig)
    assert line.startswith(f"The cluster of context '{CONTEXT}' cannot be used: error: You must be logged in")


def test_wrong_settings_are_one_list(tmp_path: Path) -> None:
    lines = refusal(tmp_path, None, cluster={}, git={})
    assert lines[0] == "The settings of stack 'prod' have 2 problems:"
    keys = {line.split(":")[1] for line in lines if line.startswith("vllm-eval:")}
    assert keys == {"cluster.context", "git.repository"}


HELM = ("meta.helm.sh/release-name=tools", "meta.helm.sh/release-namespace=argo")


@pytest.mark.parametrize(
    ("annotations", "owner"), [((), "no helm release"), (HELM, "the helm release tools in namespace argo")]
)
def test_an_argocd_that_is_there_already(
    annotations: tuple[str, ...], owner: str, server: ApiServer, tmp_path: Path
) -> None:
    definition = module_source("argocd") / "manifests/crds/application-crd.yaml"
    server.kubectl("apply", "--server-side", "--filename", str(definition))
    try:
        for each in annotations:
            server.kubectl("annotate", "crd", "applications.argoproj.io", each)
        (line,) = refusal(tmp_path, server.kubeconfig, monitoring={"enabled": False})
    finally:
        server.kubectl("delete", "crd", "applications.argoproj.io")
    assert f"those of {owner}" in line
    assert "`pulumi config set --path 'vllm-eval:argocd.install' false`" in line


def test_make_preview_is_a_preview_of_the_stack(server: ApiServer, tmp_path: Path, accepted: dict[str, Any]) -> None:
    project = Project(tmp_path, "prod", accepted, server.kubeconfig)
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    shutil.copytree(REPOSITORY / "workbench", tmp_path / "workbench", ignore=shutil.ignore_patterns("modules"))
    # What `venv` would make is there: the environment that this test runs in.
    (tmp_path / ".venv").symlink_to(sys.prefix)
    done = project.run(["make", "--old-file=venv", "preview", "STACK=prod"], check=True)
    assert "kubernetes:argoproj.io/v1alpha1:Application: (create)" in done.out
