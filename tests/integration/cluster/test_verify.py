"""`make verify` on a real API server with the real operator, Prometheus, Alertmanager and gateway.

No kubelet runs, so the test does its part: it gives the programs an address in the cluster, and hands them what the
operator writes, as its reloader would.
"""

import base64
import json
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from components.settings.stack_file import needs as asked_by
from tests.support import program
from tests.support.alertmanager import at_home
from tests.support.apiserver import CONTEXT, ApiServer, running_apiserver
from tests.support.clusters import namespace
from tests.support.monitoring.prometheus import Prometheus, wait_for
from tests.support.operator import add_alertmanager, generated, running_operator
from tests.support.ports import free_port, own_address
from tests.support.pushgateway import running_pushgateway
from tests.support.webhook import Webhook
from workbench.cluster import alarm, verify
from workbench.cluster.context import Context
from workbench.paths import Paths
from workbench.shell import WorkbenchError
from workbench.toolchain.tools import module_source

MODELS: Final = [each["name"] for each in program.stack_file("prod")["models"]]
SCORES: Final = {
    "vllm_eval_exact_match": 0.8,
    "vllm_eval_exact_match_stderr": 0.02,
    "vllm_eval_samples": 50,
    "vllm_eval_samples_expected": 50,
}
APPLICATION: Final = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/second"
TIME: Final = "2026-01-01T00:00:00Z"
GRAFANA: Final = {"name": "grafana-sc-dashboard", "image": "none"}


def stack() -> program.Stack:
    receivers = [
        {"name": "team", "kind": "webhook"},
        {"name": "on-call", "kind": "webhook", "severities": ["critical"]},
    ]
    groups = {**program.stack_file("prod"), "argocd": {"application": "second"}, "monitoring": {"receivers": receivers}}
    return program.run(groups, {"receiver-team": HOOK.url, "receiver-on-call": HOOK.url}, "prod")


HOOK: Final = Webhook()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A team's cluster with Prometheus, Alertmanager and Grafana, and the stack deployed on it."""
    folder = tmp_path_factory.mktemp("server")
    with ExitStack() as running:
        running.enter_context(HOOK.listen())
        server = running.enter_context(running_apiserver(folder))
        running.enter_context(running_operator(server, folder))
        crd = module_source("argocd") / "manifests/crds/application-crd.yaml"
        server.kubectl("apply", "--server-side", f"--filename={crd}")
        server.apply(namespace("argocd"), namespace("vllm-eval"), namespace("grafana"))
        for name in ("monitoring", "vllm-eval"):
            server.apply(
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
            )
        declared = stack()
        for kind in ("PrometheusRule", "ServiceMonitor", "AlertmanagerConfig", "ConfigMap"):
            server.apply(declared.one(kind).inputs)
        for kind, named in (("Secret", "vllm-eval-receivers"), ("PersistentVolumeClaim", "vllm-eval-results")):
            server.apply(declared.one(kind, named).inputs)
        # As kube-prometheus-stack has it.
        team = (
            "route: {receiver: theirs}\nreceivers: [{name: theirs}]\ninhibit_rules:\n- equal: [namespace, alertname]\n"
            "  source_matchers: ['severity = critical']\n  target_matchers: ['severity =~ warning|info']\n"
        )
        add_alertmanager(server, "main", team)
        release: dict[str, Any] = {"matchLabels": {"release": "kube-prometheus-stack"}}
        rules = {"ruleSelector": release, "ruleNamespaceSelector": {}}
        monitors = {"serviceMonitorSelector": release, "serviceMonitorNamespaceSelector": {}}
        meta = {"name": "main", "namespace": "monitoring"}
        server.apply(
            {
                "apiVersion": "monitoring.coreos.com/v1",
                "kind": "Prometheus",
                "metadata": meta,
                "spec": {**rules, **monitors},
            }
        )
        alertmanager = running.enter_context(alertmanager_of(server, folder))
        running.enter_context(prometheus_of(server, folder, alertmanager))
        yield server


@contextmanager
def alertmanager_of(server: ApiServer, folder: Path) -> Iterator[str]:
    text = generated(server, "main", "vllm-eval/vllm-eval/on-call").replace("group_wait: 1m", "group_wait: 1s")
    config = folder / "alertmanager.yaml"
    config.write_text(text)
    address = f"{own_address()}:{free_port(own_address())}"
    command = ["prometheus-alertmanager", f"--config.file={config}", f"--storage.path={folder / 'alertmanager'}"]
    command += [f"--web.listen-address={address}", "--cluster.listen-address="]
    with daemon(at_home(command), folder / "alertmanager.log"):
        expose(server, "alertmanager", address)
        yield address


@contextmanager
def prometheus_of(server: ApiServer, folder: Path, alertmanager: str) -> Iterator[None]:
    with running_pushgateway() as gateway:
        for model in MODELS:
            rows = [f'{name}{{stack="prod",model="{model}",model_tag="t",task="x"}} {SCORES[name]}' for name in SCORES]
            # As the runner writes a name with slashes.
            encoded = base64.urlsafe_b64encode(model.encode()).decode()
            url = f"{gateway.url}/metrics/job/vllm-eval/stack/prod/model@base64/{encoded}"
            request = urllib.request.Request(url, ("\n".join(rows) + "\n").encode(), method="PUT")  # noqa: S310 (loopback)
            with urllib.request.urlopen(request):  # noqa: S310 (loopback)
                pass
        rules, config = folder / "rules", folder / "prometheus.json"
        rules.mkdir()
        scrape = {
            "job_name": "g",
            "honor_labels": True,
            "static_configs": [{"targets": [gateway.url.removeprefix("http://")]}],
        }
        told = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
        every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        files = [f"{rules}/*.yaml"]
        config.write_text(
            json.dumps({"global": every, "rule_files": files, "scrape_configs": [scrape], "alerting": told})
        )
        address = f"{own_address()}:{free_port(own_address())}"
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
        with daemon([*command, f"--web.listen-address={address}"], folder / "prometheus.log") as process:
            expose(server, "prometheus", address)
            scraped = Prometheus(f"http://{address}")
            wait_for("Prometheus", lambda: answers(scraped, "count(vllm_eval_exact_match)") == len(MODELS))
            with reloader(server, rules, process):
                yield


def answers(server: Prometheus, expression: str) -> float | None:
    try:
        return server.value(expression)
    except OSError:
        return None


@contextmanager
def daemon(command: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("ab") as lines:
        process = subprocess.Popen(command, stdout=lines, stderr=lines)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=20)


def expose(server: ApiServer, kind: str, address: str) -> None:
    """Give a program the pod and the endpoints of the Service that the operator makes."""
    host, port = address.split(":")
    meta: dict[str, Any] = {"name": f"{kind}-main-0", "namespace": "monitoring", "labels": {kind: "main"}}
    container = {"name": kind, "image": "none", "ports": [{"containerPort": int(port)}]}
    server.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container]}})
    report(server, "pod", meta["name"], {"phase": "Running", "podIP": host, "podIPs": [{"ip": host}]}, "monitoring")
    name = f"{kind}-operated"
    wait_for(name, lambda: server.get("service", name, "monitoring") is not None)
    target = {"kind": "Pod", "namespace": "monitoring", "name": meta["name"]}
    ports = [{"name": each, "port": int(port)} for each in ("web", "http-web")]
    subset = {"addresses": [{"ip": host, "targetRef": target}], "ports": ports}
    server.apply(
        {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": name, "namespace": "monitoring"},
            "subsets": [subset],
        }
    )


def report(server: ApiServer, kind: str, name: str, status: dict[str, Any], where: str = "vllm-eval") -> None:
    """Report a status, as a controller or kubelet would."""
    words = ("patch", kind, name, f"--namespace={where}", "--subresource=status", "--type=merge")
    server.kubectl(*words, f"--patch={json.dumps({'status': status})}")


@contextmanager
def reloader(server: ApiServer, folder: Path, process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Hand the operator's rules to Prometheus, as its config-reloader does in a pod."""
    stop = threading.Event()

    def mirror() -> None:
        known: dict[str, str] = {}
        while not stop.wait(0.5):
            found = server.get("configmap", "prometheus-main-rulefiles-0", "monitoring") or {}
            if (data := found.get("data", {})) != known:
                for name in known.keys() | data.keys():
                    (folder / name).unlink(missing_ok=True)
                for name, text in data.items():
                    (folder / name).write_text(text)
                known = data
                process.send_signal(signal.SIGHUP)

    thread = threading.Thread(target=mirror, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=30)


@pytest.fixture
def cluster(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> ApiServer:
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
    return server


def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], *, alert: bool) -> tuple[dict[str, str], str]:
    """Return what was said of each step, after ok, note or FAIL, and the error."""
    error = ""
    try:
        verify.verify(Context(CONTEXT, "prod", Paths(tmp_path, "test")), asked_by(stack().settings), alert=alert)
    except WorkbenchError as raised:
        error = str(raised)
    said: dict[str, str] = {}
    for line in capsys.readouterr().out.splitlines():
        if line.startswith(("ok ", "note ", "FAIL ")):
            mark, step, text = line[:4].strip(), line[6:16].strip(), line[17:]
            said[step] = f"{mark} {text}"
    return said, error


def test_every_fault_is_a_line_of_its_own(
    cluster: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said, error = run(tmp_path, capsys, alert=False)
    assert error == "4 of 8 steps failed: Argo CD, image, Job, results"
    assert "there is no Application argocd/second" in said["Argo CD"]
    assert "there is no Job yet" in said["Job"]
    assert "the claim vllm-eval/vllm-eval-results is Pending" in said["results"]
    assert said["dashboard"].startswith("note no Grafana with a sidecar")
    assert said["dashboard"].endswith("pulumi config set --path 'vllm-eval:monitoring.dashboard' false")


def deploy(server: ApiServer) -> None:
    """Be Argo CD, the kubelet, the storage and the team's Grafana."""
    spec = stack().one("Application").inputs["spec"]
    status = {"sync": {"status": "Synced", "revision": "abcdef0123456789", "comparedTo": {**compared(spec)}}}
    status["health"] = {"status": "Healthy"}
    meta = {"name": "second", "namespace": "argocd"}
    server.apply(
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": meta, "spec": spec, "status": status}
    )
    template = {
        "metadata": {"annotations": {"git-commit": "abc"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "evalchemy", "image": "registry/image:1"}]},
    }
    meta = {"name": "evalchemy", "namespace": "vllm-eval"}
    server.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": template}})
    labels = {"batch.kubernetes.io/job-name": "evalchemy"}
    pod = {"name": "evalchemy-0", "namespace": "vllm-eval", "labels": labels}
    server.apply({"apiVersion": "v1", "kind": "Pod", "metadata": pod, "spec": template["spec"]})
    containers = [
        {"name": "env", "image": "none"},
        {**GRAFANA, "env": [{"name": "LABEL", "value": "grafana_dashboard"}]},
    ]
    pods = {"metadata": {"labels": {"app": "g"}}, "spec": {"containers": containers}}
    grafana = {"selector": {"matchLabels": {"app": "g"}}, "template": pods}
    server.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "grafana", "namespace": "grafana"},
            "spec": grafana,
        }
    )


def compared(spec: dict[str, Any]) -> dict[str, Any]:
    return {"source": spec["source"], "destination": spec["destination"]}


def pulled(state: dict[str, Any], image: str) -> dict[str, Any]:
    one = {"name": "evalchemy", "image": "registry/image:1", "imageID": image, "ready": False, "restartCount": 0}
    return {"phase": "Pending", "containerStatuses": [{**one, "state": state}]}


def test_a_stack_that_works_up_to_the_receiver(
    cluster: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy(cluster)
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "denied"}}
    report(cluster, "pod", "evalchemy-0", pulled(waiting, ""))
    said, error = run(tmp_path, capsys, alert=False)
    assert error.endswith("image, Job, results, dashboard")
    assert "registry/image:1 is not pulled (ImagePullBackOff: denied): make the package public" in said["image"]
    assert "it has not ended yet" in said["Job"]
    assert "Deployment grafana/grafana looks in grafana alone" in said["dashboard"]

    report(cluster, "pod", "evalchemy-0", pulled({"terminated": {"exitCode": 0}}, "registry/image@sha256:1"))
    ended = [
        {"type": kind, "status": "True", "lastTransitionTime": TIME} for kind in ("SuccessCriteriaMet", "Complete")
    ]
    report(cluster, "job", "evalchemy", {"startTime": TIME, "completionTime": TIME, "conditions": ended})
    report(cluster, "pvc", "vllm-eval-results", {"phase": "Bound", "capacity": {"storage": "10Gi"}})
    everywhere = [{"name": "NAMESPACE", "value": "ALL"}, {"name": "LABEL", "value": "grafana_dashboard"}]
    patch = {"spec": {"template": {"spec": {"containers": [{**GRAFANA, "env": everywhere}]}}}}
    cluster.kubectl("patch", "deployment", "grafana", "--namespace=grafana", f"--patch={json.dumps(patch)}")

    said, error = run(tmp_path, capsys, alert=True)
    assert error == ""
    assert set(said) == {"Argo CD", "image", "Job", "results", "gateway", "scores", "rules", "dashboard", "alert"}
    assert "Application argocd/second is Synced and Healthy, at abcdef012345" in said["Argo CD"]
    assert "Deployment grafana/grafana takes it, without the folder 'vLLM'" in said["dashboard"]
    assert said["scores"] == f"ok 2 scores of {', '.join(sorted(MODELS))}"
    assert "vllm-eval/vllm-eval/on-call, vllm-eval/vllm-eval/team; 3 sent by webhook" in said["alert"]
    # The critical one at both, the warning at the team's alone.
    assert len(HOOK.alerts("EvaluationTestCritical", "firing")) == 2
    assert len(HOOK.alerts("EvaluationTestWarning", "firing")) == 1
    assert cluster.get("prometheusrule", alarm.NAME, "vllm-eval") is None


def test_an_address_that_refuses_is_said(
    cluster: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with HOOK.refusing():
        said, error = run(tmp_path, capsys, alert=True)
    assert error.endswith("alert")
    assert "but webhook refused it or was not reached: is the address in the Secret right?" in said["alert"]
    assert cluster.get("prometheusrule", alarm.NAME, "vllm-eval") is None
