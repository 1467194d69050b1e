"""`make doctor CONTEXT=name` on a real API server: what it demands of somebody's cluster, and that it only looks."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import program
from tests.support.apiserver import CONTEXT, ApiServer, running_apiserver
from tests.support.clusters import install_operator_kinds, namespace, prometheus, storage_class
from tests.support.ports import free_port, own_address
from workbench import commands
from workbench.cluster import context, needs, requests, stack
from workbench.cluster.context import Context
from workbench.cluster.requests import DeployRequest
from workbench.options import Options
from workbench.paths import REPOSITORY, Paths
from workbench.shell import WorkbenchError
from workbench.toolchain import tools


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A cluster without any operator."""
    with running_apiserver(tmp_path_factory.mktemp("bare")) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_apiserver(tmp_path_factory.mktemp("server")) as running:
        install_operator_kinds(running)
        running.apply(namespace("monitoring"))
        yield running


@pytest.fixture
def cluster(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """A cluster with a default class and no Prometheus yet; the caller's kubeconfig leads to it."""
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
    server.apply(storage_class("standard", default=True))
    yield server
    server.kubectl("delete", "prometheuses", "--all", "--namespace=monitoring")
    server.kubectl("delete", "storageclasses", "--all")
    server.kubectl("delete", "namespace", "vllm-eval", "--ignore-not-found", "--wait=false")


@pytest.fixture(autouse=True)
def evaluation_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the runner's seconds of validation: test_refusals has them, and `make doctor` below runs them."""
    monkeypatch.setattr(requests, "check_evaluation", lambda _: None)


def check(
    tmp_path: Path, name: str = CONTEXT, stack_name: str = "dev", *, standins: bool = True, **asked: str
) -> needs.Found:
    return context.check(Context(name, stack_name, Paths(tmp_path, "test")), DeployRequest(standins=standins, **asked))


def refusal(tmp_path: Path, *words: str, standins: bool = True, **asked: str) -> str:
    with pytest.raises(WorkbenchError) as error:
        check(tmp_path, *words, standins=standins, **asked)
    return str(error.value)


def with_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **groups: dict[str, Any]) -> None:
    """Let the stack dev have other settings than the committed ones."""
    tmp_path.mkdir(exist_ok=True)
    for name in ("components", "monitoring", "eval"):
        if not (tmp_path / name).exists():
            (tmp_path / name).symlink_to(REPOSITORY / name)
    file = yaml.safe_load(program.stack_path("dev").read_text())
    for group, values in groups.items():
        file["config"].setdefault(f"vllm-eval:{group}", {}).update(values)
    (tmp_path / "Pulumi.dev.yaml").write_text(yaml.safe_dump(file))
    monkeypatch.setattr(stack, "REPOSITORY", tmp_path)


def test_a_cluster_with_everything_is_accepted_and_only_looked_at(cluster: ApiServer, tmp_path: Path) -> None:
    cluster.apply(prometheus("other", ruleSelector=None), prometheus())
    before = cluster.kubectl("get", "all,prometheuses,storageclasses,namespaces,events", "-A", "-o", "yaml")
    found = check(tmp_path)
    assert (found.namespace, found.owner, found.prometheus) == (
        "vllm-eval", "pulumi", "monitoring/prometheus-operated:web"
    )  # fmt: skip
    assert cluster.kubectl("get", "all,prometheuses,storageclasses,namespaces,events", "-A", "-o", "yaml") == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"ruleSelector": None}, "its ruleSelector is not set, which selects no PrometheusRule"),
        ({"serviceMonitorSelector": None}, "its serviceMonitorSelector is not set, which selects no ServiceMonitor"),
        ({"ruleNamespaceSelector": None}, "its ruleNamespaceSelector is not set, which leaves out every namespace"),
        (
            {"serviceMonitorNamespaceSelector": {"matchLabels": {"team": "web"}}},
            'its serviceMonitorNamespaceSelector {"matchLabels": {"team": "web"}} does not select the namespace',
        ),
        (
            {"ruleSelector": {"matchLabels": {"role": "alerts"}}},
            'its ruleSelector {"matchLabels": {"role": "alerts"}} does not select our PrometheusRule',
        ),
    ],
)
def test_a_prometheus_that_leaves_us_out_is_named_with_its_selector(
    cluster: ApiServer, tmp_path: Path, spec: dict[str, Any], said: str
) -> None:
    cluster.apply(prometheus(**spec))
    text = refusal(tmp_path)
    assert "the Prometheus monitoring/main does not" in text
    assert said in text


def test_the_setting_to_change_is_named(cluster: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = {"matchExpressions": [{"key": "release", "operator": "In", "values": ["theirs"]}]}
    cluster.apply(prometheus(ruleSelector=release, serviceMonitorSelector=release))
    assert "pulumi config set --stack dev --path 'vllm-eval:monitoring.release' theirs" in refusal(tmp_path)
    with_settings(monkeypatch, tmp_path, monitoring={"release": "theirs"})
    assert check(tmp_path).prometheus == "monitoring/prometheus-operated:web"


def test_labels_that_the_namespace_has_already_count(cluster: ApiServer, tmp_path: Path) -> None:
    team = {"matchLabels": {"team": "ml"}}
    cluster.apply(prometheus(ruleNamespaceSelector=team, serviceMonitorNamespaceSelector=team))
    assert "does not select the namespace vllm-eval" in refusal(tmp_path)
    cluster.apply(namespace("vllm-eval", team="ml"))
    assert check(tmp_path).prometheus is not None


def test_receivers_need_an_alertmanager_that_reads_them(
    cluster: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receivers = [{"name": "team", "kind": "slack", "url": {"secret": "slack", "key": "url"}}]
    changes = {"cluster": {"context": CONTEXT}, "monitoring": {"receivers": receivers}}
    monkeypatch.setattr(context, "_changes", lambda *_: changes)
    cluster.apply(prometheus())
    assert "no Alertmanager is in the cluster" in refusal(tmp_path)
    selectors: dict[str, Any] = {"alertmanagerConfigSelector": {"matchLabels": {"team": "sre"}}}
    main = {"apiVersion": "monitoring.coreos.com/v1", "kind": "Alertmanager", "spec": selectors}
    main["metadata"] = {"name": "main", "namespace": "monitoring"}
    cluster.apply(main)
    assert "monitoring/main: its alertmanagerConfigSelector" in refusal(tmp_path)
    selectors |= {"alertmanagerConfigSelector": {}, "alertmanagerConfigNamespaceSelector": {}}
    cluster.apply(main)
    assert check(tmp_path).alertmanager == "monitoring/alertmanager-operated:web"
    cluster.kubectl("delete", "alertmanagers", "--all", "--namespace=monitoring")


def test_a_prometheus_that_the_gateway_would_keep_out(
    cluster: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.apply(prometheus())
    with_settings(monkeypatch, tmp_path, monitoring={"prometheus": {"namespace": "prom", "labels": {"app": "prom"}}})
    text = refusal(tmp_path)
    assert "monitoring.prometheus.namespace is 'prom', but the Prometheus monitoring/main is elsewhere" in text
    assert "--path 'vllm-eval:monitoring.prometheus.namespace' monitoring" in text
    assert (
        'monitoring.prometheus.labels is {"app": "prom"}, which the pods of the Prometheus monitoring/main lack' in text
    )
    own = {"namespace": "monitoring", "labels": {"prometheus": "main"}}
    with_settings(monkeypatch, tmp_path, monitoring={"prometheus": own})
    check(tmp_path)


def test_no_prometheus_at_all(cluster: ApiServer, tmp_path: Path) -> None:
    text = refusal(tmp_path)
    assert "no Prometheus is in the cluster" in text
    assert "'vllm-eval:monitoring.enabled' false" in text


def test_a_claim_without_a_class_is_found(cluster: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.apply(prometheus(), storage_class("standard", default=False))
    text = refusal(tmp_path)
    for setting in ("evaluation.results.storage_class", "monitoring.pushgateway.storage_class"):
        assert f"no default StorageClass, and {setting} names none (it has: standard)" in text
    with_settings(
        monkeypatch,
        tmp_path,
        evaluation={"results": {"url": "s3://results"}, "egress": [{"cidr": "0.0.0.0/0", "port": 443}]},
        monitoring={"pushgateway": {"storage_class": "fast"}},
    )
    text = refusal(tmp_path)
    assert "monitoring.pushgateway.storage_class is 'fast', but the cluster has no such StorageClass" in text
    assert "evaluation.results" not in text
    cluster.apply(storage_class("fast", default=False))
    check(tmp_path)


def test_a_cluster_without_the_operator_lacks_its_kinds(
    bare: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(bare.kubeconfig))
    text = refusal(tmp_path)
    assert "The cluster has no PrometheusRule and no ServiceMonitor: install the Prometheus Operator" in text
    assert "no default StorageClass" in text, "everything is reported at once"
    assert "no Prometheus is in" not in text, "one fault, said once"
    assert "Argo CD" not in text, "the stack installs its own"
    with_settings(monkeypatch, tmp_path, argocd={"install": False}, monitoring={"enabled": False})
    text = refusal(tmp_path)
    assert "The cluster has no AppProject and no Application: install Argo CD" in text
    assert "PrometheusRule" not in text


def test_a_wrong_stack_file_and_a_wrong_cluster_are_one_list(
    cluster: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_settings(monkeypatch, tmp_path, evaluation={"limt": 3})
    text = refusal(tmp_path, "elsewhere")
    assert "vllm-eval:evaluation.limt = 3: unknown key" in text
    assert f"The kubeconfig has no context 'elsewhere' (it has: {CONTEXT})" in text
    with_settings(monkeypatch, tmp_path / "good")
    text = refusal(tmp_path, "elsewhere")
    assert text.count("\n") == 1, "one fault, said once"
    assert "The kubeconfig has no context 'elsewhere'" in text


@pytest.mark.parametrize("wrong", [True, False])
def test_a_wrong_stack_file_is_refused_before_tools_are_built(
    wrong: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    monkeypatch.setattr(tools, "build", lambda tool, paths: built.append(tool))
    with_settings(monkeypatch, tmp_path, evaluation={"limt": 3} if wrong else {})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WorkbenchError) as refused:
        context.up(Context(CONTEXT, "dev", Paths(tmp_path, "test")), DeployRequest(standins=True))
    assert ("vllm-eval:evaluation.limt = 3: unknown key" in str(refused.value)) == wrong
    assert built == ([] if wrong else list(context.PROGRAMS.values()))


def test_what_the_program_would_refuse_is_refused_here(
    cluster: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.apply(prometheus(), namespace("evaluations"))
    with_settings(monkeypatch, tmp_path, evaluation={"namespace": "evaluations"})
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "evalchemy", "image": "none"}]}}
    meta = {"name": "evalchemy", "namespace": "evaluations"}
    cluster.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": template}})
    assert "The Job evaluations/evalchemy is still there and is not Pulumi's" in refusal(tmp_path)
    cluster.kubectl("delete", "job", "evalchemy", "--namespace=evaluations", "--cascade=background")
    check(tmp_path)
    with_settings(monkeypatch, tmp_path, cluster={"server": "https://other.example.com"})
    assert "vllm-eval:cluster.server pins https://other.example.com" in refusal(tmp_path)


def test_an_argo_cd_of_others_is_refused_here(bare: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(bare.kubeconfig))
    names = {"plural": "applications", "singular": "application", "kind": "Application"}
    schema = {"openAPIV3Schema": {"type": "object"}}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": schema}
    spec = {"group": "argoproj.io", "scope": "Namespaced", "names": names, "versions": [version]}
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": spec}
    bare.apply({**crd, "metadata": {"name": "applications.argoproj.io"}})
    try:
        assert "Argo CD's CRDs are in the cluster already, those of no helm release" in refusal(tmp_path)
    finally:
        bare.kubectl("delete", "crd", "applications.argoproj.io")


def test_an_unreachable_cluster_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "contexts": [{"name": "dead", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    text = refusal(tmp_path, "dead")
    assert "127.0.0.1:1 was refused" in text
    assert "The cluster of context 'dead' cannot be used" in text
    assert text.count("\n") == 1


def test_an_endpoint_that_this_machine_does_not_reach_is_a_note(
    cluster: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.apply(prometheus())
    endpoint = f"http://{own_address()}:{free_port(own_address())}/v1"
    check(tmp_path, model="m", endpoint=endpoint)
    assert f"note: MODEL_ENDPOINT is '{endpoint}', and it does not answer" in capsys.readouterr().out
    check(tmp_path, model="m", endpoint="http://vllm.serving.svc:8000/v1")
    said = capsys.readouterr().out
    assert "MODEL_ENDPOINT" not in said
    assert "  note: models[0]: the Service serving/vllm is not there (yet)\n" in said


def test_without_kubectl_it_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no `kubectl` to ask the cluster with: install it, or build ours by `make tools`" in refusal(
        tmp_path
    )


def test_an_unknown_stack_names_those_that_are_there(cluster: ApiServer, tmp_path: Path) -> None:
    text = refusal(tmp_path, CONTEXT, "pord")
    assert "STACK is 'pord', but there is no Pulumi.pord.yaml: write it, or name one of dev, local, prod" in text
    assert text.count("\n") == 1, "one fault, said once"


def test_a_bare_kubeconfig_is_ignored_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/production")
    assert commands.chosen(Paths(tmp_path, "test"), Options("up")) is None
    assert "KUBECONFIG is ignored" in capsys.readouterr().out
    monkeypatch.delenv("KUBECONFIG")
    assert commands.chosen(Paths(tmp_path, "test"), Options("up")) is None
    assert capsys.readouterr().out == ""


def test_a_stack_without_a_cluster_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"STACK is 'prod' without a CONTEXT"):
        commands.chosen(Paths(tmp_path, "test"), Options("up", stack="prod"))


def test_the_sandboxs_plugins_are_nobodys_unless_asked_for(
    cluster: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.apply(prometheus())
    text = refusal(tmp_path, standins=False)
    assert "the official Pulumi plugins are missing (there is no `pulumi-language-python` on PATH)" in text
    assert "STANDINS=1" in text
    folder = tmp_path / "official"
    folder.mkdir()
    (folder / "pulumi-language-python").touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    check(tmp_path, standins=False)


def make(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = ["make", "--no-print-directory", *words]
    return subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_make_doctor_ends_well_on_a_good_cluster_and_make_down_does_not_take_one(cluster: ApiServer) -> None:
    cluster.apply(prometheus())
    done = make("doctor", f"CONTEXT={CONTEXT}", "STANDINS=1")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"the cluster of context '{CONTEXT}' has all that the stack dev needs" in done.stdout
    down = make("down", f"CONTEXT={CONTEXT}")
    assert down.returncode != 0
    assert "`make down` takes no CONTEXT" in down.stderr
