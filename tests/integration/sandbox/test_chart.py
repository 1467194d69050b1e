"""The chart made from Argo CD's manifests, rendered by helm as the stack would."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from workbench.sandbox import chart

VALUES = {
    "global": {"image": {"repository": "quay.io/argoproj/argocd", "tag": "v9.9.9"}},
    "configs": {"cm": {"timeout.reconciliation": "5s", "admin.enabled": True}, "params": {"server.insecure": False}},
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Every object of the chart, with the values above."""
    folder: Path = tmp_path_factory.mktemp("chart")
    path = chart.write(folder)
    values = folder / "values.yaml"
    values.write_text(yaml.safe_dump(VALUES))
    command = ["helm", "template", "argocd", str(path), "--namespace", "argocd", "--values", str(values)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def _one(rendered: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in rendered if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def test_values_reach_the_config_maps_as_strings(rendered: list[dict[str, Any]]) -> None:
    assert _one(rendered, "ConfigMap", "argocd-cm")["data"] == {
        "timeout.reconciliation": "5s",
        "admin.enabled": "true",
    }
    assert _one(rendered, "ConfigMap", "argocd-cmd-params-cm")["data"] == {"server.insecure": "false"}


def test_every_component_runs_the_image_of_the_values(rendered: list[dict[str, Any]]) -> None:
    pods = [each["spec"]["template"]["spec"] for each in rendered if each["kind"] in ("Deployment", "StatefulSet")]
    images = {each["image"] for pod in pods for each in pod.get("initContainers", []) + pod["containers"]}
    assert images == {"quay.io/argoproj/argocd:v9.9.9", chart.REDIS_IMAGE}


def test_what_the_stack_switches_off_is_left_out(rendered: list[dict[str, Any]]) -> None:
    names = {each["metadata"]["name"] for each in rendered if each["kind"] in ("Deployment", "StatefulSet")}
    assert names == {"argocd-application-controller", "argocd-redis", "argocd-repo-server", "argocd-server"}


def test_the_crds_outlive_the_release(rendered: list[dict[str, Any]]) -> None:
    crds = [each for each in rendered if each["kind"] == chart.CRD]
    assert len(crds) == 3
    assert all(each["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for each in crds)
