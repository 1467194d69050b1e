"""Every command of the runbook is run: on a gateway, by Pulumi, in the repository, or on an API server."""

import base64
import http.client
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import labels
from components.settings.model import Baseline
from tests.support import program
from tests.support.apiserver import ApiServer, running_apiserver
from tests.support.monitoring.contract import Run
from tests.support.project import Project
from tests.support.pushgateway import running_pushgateway
from vllm_eval import metrics
from workbench.paths import REPOSITORY
from workbench.toolchain.tools import module_source

RUNBOOK = (REPOSITORY / "docs" / "runbook.md").read_text(encoding="utf-8")
SETUP, *BLOCKS = re.findall(r"```sh\n(.*?)```", RUNBOOK, re.DOTALL)
VARIABLES, FORWARD = SETUP.splitlines()
INLINE = re.findall(r"`((?:kubectl|curl|pulumi|git) [^`]+)`", re.sub(r"```.*?```", "", RUNBOOK, flags=re.DOTALL))
# `pulumi up` alone is no command of the runbook's own: the engine's tests run it on every kind of change.
COMMANDS = sorted(({line for block in BLOCKS for line in block.splitlines()} | set(INLINE)) - {"pulumi up"})

GREPS = [command for command in COMMANDS if command.startswith("curl -s localhost:9091/metrics |")]
DELETES = [command for command in COMMANDS if command.startswith("curl -X DELETE localhost:9091/")]
CONFIGS = [command for command in COMMANDS if command.startswith("pulumi config ")]
GITS = [command for command in COMMANDS if command.startswith("git ")]
# Whatever is none of these is tried as a command on the cluster.
KUBECTLS = [command for command in COMMANDS if command not in {*GREPS, *DELETES, *CONFIGS, *GITS}]

# What no API server answers without a node and without add-ons: it must get as far as this.
WITHOUT_NODES = {
    "kubectl get --raw /api/v1/namespaces/serving/services/": 'no endpoints available for service "vllm"',
    "kubectl top pods ": "Metrics API not available",
    # Only a stack with `evaluation.report.service` has it.
    "kubectl -n vllm-eval exec deploy/": f'deployments.apps "{labels.REPORT}" not found',
}
# Of a pod without a node the log is empty; for a label that no pod has there would be a word on the other stream.
LOGS = "kubectl -n vllm-eval logs "


def _bash(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    script = f"{VARIABLES}\nset -o pipefail\n{command}"
    return subprocess.run(
        ["bash", "-c", script],
        cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def gateway() -> Iterator[str]:
    with running_pushgateway() as running:
        address = running.url.removeprefix("http://")
        run = Run("google/gemma-3-270m", "v1", "custom_task_1", 0.8, 1.0)
        model = base64.urlsafe_b64encode(run.model.encode()).decode()
        text = "".join(f"{name} {value!r}\n" for name, value in run.series())
        _put(address, f"/metrics/job/{metrics.PUSH_JOB}/stack/prod/model@base64/{model}", text)
        yield address


def _put(address: str, group: str, text: str) -> None:
    with closing(http.client.HTTPConnection(address, timeout=10)) as connection:
        connection.request("PUT", group, text)
        assert connection.getresponse().status == 200


@pytest.mark.parametrize("command", GREPS)
def test_a_command_on_the_gateway_finds_what_it_looks_for(gateway: str, command: str) -> None:
    done = _bash(command.replace("localhost:9091", gateway))
    assert done.returncode == 0, done.stderr
    names = {re.split(r"[{ ]", line)[0] for line in done.stdout.splitlines()}
    [pattern] = re.findall(r"\^(\w+_?)\(([\w|]+)\)(_\w+)?|\^(vllm_eval_last_run_timestamp_seconds)", command)
    start_of, parts, end_of, whole = pattern
    assert names == ({whole} if whole else {f"{start_of}{part}{end_of}" for part in parts.split("|")})


@pytest.mark.parametrize("command", DELETES)
def test_a_group_that_somebody_else_pushed_is_deleted(gateway: str, command: str) -> None:
    place = command.split("localhost:9091")[1]
    _put(gateway, place, "vllm_eval_exact_match 0.5\n")
    pushed = f"curl -s {gateway}/metrics | grep -E '^vllm_eval_exact_match.* 0.5$'"
    assert _bash(pushed).returncode == 0
    done = _bash(command.replace("localhost:9091", gateway))
    assert done.returncode == 0, done.stderr
    assert _bash(pushed).returncode == 1


def test_the_commands_on_settings_do_what_they_say(tmp_path: Path) -> None:
    groups = program.stack_file("dev")
    project = Project(tmp_path, "dev", groups, None)
    for command in CONFIGS:
        if " get " in command:
            assert project.run(["bash", "-c", command], check=True).out.strip(), f"{command} prints nothing"
    [accept] = [command for command in CONFIGS if " set " in command]
    [remove] = [command for command in CONFIGS if " rm " in command]
    accepted = _baseline_after(project, accept)
    assert accepted is not None
    assert accepted.run == "RUN_ID"
    assert _baseline_after(project, remove) is None


def _baseline_after(project: Project, command: str) -> Baseline | None:
    project.run(["bash", "-c", command], check=True)
    config = yaml.safe_load(project.file.read_text(encoding="utf-8"))["config"]
    groups = {key.removeprefix("vllm-eval:"): value for key, value in config.items()}
    return program.load(groups, stack="dev").models[0].baseline


@pytest.mark.parametrize("command", GITS)
def test_the_history_is_that_of_files_that_are_there(command: str) -> None:
    done = _bash(command)
    assert (done.returncode, done.stderr) == (0, "")
    for path in command.split(" -- ")[1].split():
        assert (REPOSITORY / path).is_dir()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A cluster after a failed run: what k8s/ holds and what the stack declares, and a pod of each."""
    stack = program.run(program.stack_file("prod"))
    with running_apiserver(tmp_path_factory.mktemp("cluster")) as server:
        crd = module_source("argocd") / "manifests/crds/application-crd.yaml"
        server.kubectl("apply", "--server-side", f"--filename={crd}")
        server.await_definitions()
        for namespace in ("vllm-eval", "argocd", "serving"):
            server.kubectl("create", "namespace", namespace)
            # Made by a controller, elsewhere.
            server.kubectl("create", "serviceaccount", "default", f"--namespace={namespace}")
        server.kubectl("apply", f"--kustomize={REPOSITORY / 'k8s'}")
        service, deployment = stack.one("Service"), stack.one("Deployment")
        job = server.get("job", "evalchemy", "vllm-eval") or {}
        server.apply(
            {"apiVersion": "v1", "kind": "Service", **_declared(service)},
            _pod(labels.PUSHGATEWAY, deployment.inputs["spec"]["template"]),
            _pod("evalchemy-0", job["spec"]["template"], {"batch.kubernetes.io/job-completion-index": "0"}),
            {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", **_declared(stack.one("Application"))},
            {
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "vllm", "namespace": "serving"},
                "spec": {"selector": {"app": "vllm"}, "ports": [{"port": 8000}]},
            },
            {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "vllm", "namespace": "serving"}},
            {
                "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "vllm-eval"},
                "involvedObject": {"kind": "Job", "name": "evalchemy", "namespace": "vllm-eval"}, "reason": "Test",
                "lastTimestamp": "2026-01-01T00:00:00Z",
            },
        )  # fmt: skip
        ended = {"name": "evalchemy", "image": "i", "imageID": "i", "ready": False, "restartCount": 0}
        ended["state"] = {"terminated": {"exitCode": 3}}
        status = yaml.safe_dump({"status": {"phase": "Pending", "containerStatuses": [ended]}})
        patch = ["patch", "pod", "evalchemy-0", "--namespace=vllm-eval", "--subresource=status", f"--patch={status}"]
        server.kubectl(*patch)
        yield server


def _declared(resource: program.Declared) -> dict[str, Any]:
    return {"metadata": resource.metadata, "spec": resource.inputs["spec"]}


def _pod(name: str, template: dict[str, Any], annotations: dict[str, str] | None = None) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": "vllm-eval",
        "labels": template["metadata"]["labels"],
        "annotations": {**template["metadata"].get("annotations", {}), **(annotations or {})},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


@pytest.mark.parametrize("command", KUBECTLS)
def test_a_command_on_the_cluster_finds_what_it_asks_for(cluster: ApiServer, command: str) -> None:
    done = _bash(command, KUBECONFIG=str(cluster.kubeconfig))
    expected = [text for begin, text in WITHOUT_NODES.items() if command.startswith(begin)]
    if expected:
        assert done.returncode != 0
        assert expected[0] in done.stdout + done.stderr
        return
    assert (done.returncode, done.stderr) == (0, "")
    assert command.startswith(LOGS) or done.stdout.strip()


def test_the_exit_code_stands_beside_the_models_index(cluster: ApiServer) -> None:
    [command] = [command for command in KUBECTLS if "custom-columns" in command]
    assert _rows(_bash(command, KUBECONFIG=str(cluster.kubeconfig)).stdout) == [
        ["POD", "MODEL", "CODE"],
        ["evalchemy-0", "0", "3"],
    ]


def _rows(text: str) -> Sequence[Sequence[str]]:
    return [line.split() for line in text.splitlines()]


def test_the_gateways_service_has_the_port_that_is_forwarded(cluster: ApiServer) -> None:
    command = FORWARD.removesuffix(" >/dev/null &")
    assert command != FORWARD
    done = _bash(command, KUBECONFIG=str(cluster.kubeconfig))
    assert "unable to forward port because pod is not running" in done.stderr
