"""Helm releases under the real engine, by the real helm, on a real API server."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.plugins.engine import CANARY, Stack
from tests.support.apiserver import ApiServer

CONFIG_MAP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: tiny}
data: {text: {{ .Values.text | quote }}, key: {{ .Values.key | default "none" | quote }}}
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: tiny}
spec:
  selector: {matchLabels: {app: tiny}}
  template:
    metadata: {labels: {app: tiny}}
    spec: {containers: [{name: c, image: none}]}
"""
PROGRAM = """
    release = k8s.helm.v3.Release(
        "release", name="tiny", namespace="default", chart="./chart", timeout=20,
        cleanup_on_fail=True, max_history=5, wait_for_jobs=True, skip_crds=True, create_namespace=True,
        values={"text": "one", "key": pulumi.Config().require_secret("canary")}, opts=opts,
    )
    pulumi.export("version", release.status.apply(lambda status: status.version))
"""


@pytest.fixture
def chart(stack: Stack) -> Path:
    folder = stack.folder / "chart"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "name": "tiny", "version": "0.1.0"}))
    (folder / "templates/config-map.yaml").write_text(CONFIG_MAP)
    return folder


def helm(server: ApiServer, *words: str) -> str:
    command = ["helm", f"--kubeconfig={server.kubeconfig}", "--namespace=default", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def text(server: ApiServer) -> str | None:
    live = server.get("configmap", "tiny")
    return None if live is None else str(live["data"]["text"])


def test_a_release_is_installed_upgraded_repaired_and_gone(stack: Stack, server: ApiServer, chart: Path) -> None:
    stack.program(PROGRAM)
    assert 'version: "0.1.0"' in stack.up("--suppress-progress").out
    assert text(server) == "one"
    stack.refresh("--expect-no-changes")
    stack.pulumi("preview", "--expect-no-changes")

    stack.program(PROGRAM.replace('"one"', '"two"'))
    # A chart that is a folder is told apart by what is in it.
    (chart / "templates/more.yaml").write_text(CONFIG_MAP.replace("name: tiny", "name: tiny-more"))
    done = stack.up("--diff").out
    assert "~ checksum:" in done
    assert '~ text: "one" => "two"' in done
    assert text(server) == "two"
    assert server.get("configmap", "tiny-more")

    helm(server, "upgrade", "tiny", str(chart), "--set=text=theirs")
    assert "Release release updated" in stack.up("--refresh").out
    assert text(server) == "two"

    helm(server, "uninstall", "tiny", "--wait")
    assert "Release release created" in stack.up("--refresh").out
    assert text(server) == "two"
    assert CANARY not in stack.state()
    assert [each for each in stack.printed if CANARY in each] == []
    stack.destroy()
    assert text(server) is None
    assert helm(server, "list", "--all", "--short") == ""


def test_a_release_that_fails_is_kept_and_gone_on_with(stack: Stack, server: ApiServer, chart: Path) -> None:
    workload = chart / "templates/workload.yaml"
    workload.write_text(DEPLOYMENT)
    stack.program(PROGRAM.replace("timeout=20", "timeout=3"))
    done = stack.up(check=False)
    assert done.code != 0
    assert "helm upgrade default/tiny: " in done.out
    assert "(the release is there, failed)" in done.out

    # Ctrl-C reaches helm, which would wait five minutes.
    stack.program(PROGRAM.replace("timeout=20", "timeout=300"))
    rest = stack.interrupted_up("release updating", within=30)
    assert "helm upgrade default/tiny: " in rest
    assert stack.resources()["release"]["initErrors"]

    workload.unlink()
    stack.program(PROGRAM)
    stack.up()
    assert helm(server, "list", "--deployed", "--short") == "tiny\n"
    assert CANARY not in stack.state()
    stack.pulumi("state", "delete", "--yes", stack.resources()["release"]["urn"])
    refused = stack.up(check=False)
    assert refused.code != 0
    assert "release default/tiny already exists (deployed), not of this stack" in refused.out
    helm(server, "uninstall", "tiny", "--wait")
    stack.destroy()
