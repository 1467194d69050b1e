"""What is checked before anything is declared: kubeconfig, cluster, kinds, the live Job's owner."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from components import preflight
from components.settings.model import Cluster, Owner
from tests.support import program
from workbench.paths import REPOSITORY

CONFIG: dict[str, Any] = {
    "contexts": [
        {"name": "prod", "context": {"cluster": "c", "user": "u"}},
        {"name": "dev", "context": {"cluster": "d"}},
    ],
    "clusters": [{"name": "c", "cluster": {"server": "https://prod.example.com:6443/"}}],
}


# What may belong to another stack of the same cluster.
APPLICATION = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/vllm-evalchemy-job"
PROJECT = "/apis/argoproj.io/v1alpha1/namespaces/argocd/appprojects/vllm-eval"
OTHERS = dict.fromkeys(
    ("/api/v1/namespaces/vllm-eval", APPLICATION, PROJECT), (1, "", "Error from server (NotFound): not found")
)


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(CONFIG))
    monkeypatch.setenv("KUBECONFIG", str(file))
    return file


def refused(cluster: Cluster) -> str:
    with pytest.raises(preflight.PreflightError) as caught:
        preflight.check_context(cluster)
    return str(caught.value)


def test_a_context_that_is_there(kubeconfig: Path) -> None:
    preflight.check_context(Cluster(context="prod"))
    preflight.check_context(Cluster(context="prod", server="https://prod.example.com:6443"))


def test_a_context_that_is_not_there_says_which_are(kubeconfig: Path) -> None:
    told = refused(Cluster(context="staging"))
    assert "no context 'staging' (it has: dev, prod)" in told
    assert "vllm-eval:cluster.context" in told


def test_a_context_that_leads_elsewhere(kubeconfig: Path) -> None:
    told = refused(Cluster(context="prod", server="https://other.example.com"))
    assert "'prod' leads to https://prod.example.com:6443/" in told
    assert "vllm-eval:cluster.server pins https://other.example.com" in told
    assert "leads to nowhere" in refused(Cluster(context="dev", server="https://other.example.com"))


def test_several_kubeconfigs_are_merged_and_the_first_wins(
    kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "first"
    clusters = [{"name": "c", "cluster": {"server": "https://first.example.com"}}]
    first.write_text(yaml.safe_dump({"clusters": clusters}))
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(first), "", str(tmp_path / "missing"), str(kubeconfig)]))
    preflight.check_context(Cluster(context="prod", server="https://first.example.com"))


def test_no_kubeconfig_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "has no context 'prod' (it has: none)" in refused(Cluster(context="prod"))


def test_the_default_kubeconfig(kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".kube").mkdir()
    kubeconfig.rename(tmp_path / ".kube" / "config")
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    preflight.check_context(Cluster(context="prod"))


@pytest.mark.parametrize("text", ["contexts: [1]", "{", "contexts: [{context: {}}]", "just text"])
def test_a_kubeconfig_that_is_none(text: str, kubeconfig: Path) -> None:
    kubeconfig.write_text(text)
    assert refused(Cluster(context="prod")).startswith(f"The kubeconfig {kubeconfig} cannot be read: ")


RESOURCES = {"resources": [{"kind": "PrometheusRule"}, {"kind": "ServiceMonitor"}]}


@pytest.mark.parametrize(
    ("answer", "missing"),
    [
        (None, "no PrometheusRule and no ServiceMonitor"),
        ({"resources": []}, "no PrometheusRule and no ServiceMonitor"),
        ({"resources": [{"kind": "ServiceMonitor"}]}, "no PrometheusRule"),
    ],
)
def test_missing_kinds(answer: object, missing: str) -> None:
    (sentence,) = preflight.kind_faults(answer, preflight.OPERATOR)
    assert f"The cluster has {missing}: " in sentence
    assert "pulumi config set --path 'vllm-eval:monitoring.enabled' false" in sentence
    assert list(preflight.kind_faults(RESOURCES, preflight.OPERATOR)) == []
    assert "install Argo CD" in next(preflight.kind_faults(answer, preflight.ARGOCD))


def live(owner: str | None) -> dict[str, Any]:
    return {"metadata": {"labels": {"app.kubernetes.io/managed-by": owner} if owner else {}}}


@pytest.mark.parametrize("owner", list(Owner))
def test_no_job_is_nobodys(owner: Owner) -> None:
    assert list(preflight.owner_faults(None, owner, "vllm-eval")) == []


@pytest.mark.parametrize(
    ("found", "owner", "fault"),
    [
        (live("pulumi"), Owner.PULUMI, None),
        (live(None), Owner.ARGOCD, None),
        ({"metadata": {}}, Owner.ARGOCD, None),
        (live("pulumi"), Owner.NONE, None),
        (live(None), Owner.NONE, None),
        (live(None), Owner.PULUMI, "The Job vllm-eval/evalchemy is still there and is not Pulumi's."),
        ({"metadata": {}}, Owner.PULUMI, "The Job vllm-eval/evalchemy is still there and is not Pulumi's."),
        (live("pulumi"), Owner.ARGOCD, "The Job vllm-eval/evalchemy is still Pulumi's: run `pulumi up`"),
    ],
)
def test_a_job_of_the_other_owner(found: object, owner: Owner, fault: str | None) -> None:
    faults = list(preflight.owner_faults(found, owner, "vllm-eval"))
    assert len(faults) == (fault is not None)
    assert all(each.startswith(fault or "") for each in faults)


def fake_kubectl(folder: Path, answers: dict[str, tuple[int, str, str]]) -> None:
    """Put a kubectl on PATH that answers by path: an API server that refuses on purpose needs no server."""
    script = folder / "kubectl"
    script.write_text(
        f"#!{sys.executable} -IS\nimport json, sys\n"  # without its packages it starts at once
        f"answers = json.loads({json.dumps(json.dumps(answers))})\n"
        "code, out, err = answers.get(sys.argv[-1], answers.get('*'))\n"
        "sys.stdout.write(out); sys.stderr.write(err); sys.exit(code)\n"
    )
    script.chmod(0o755)


MISSING = (1, "", "Error from server (NotFound): not found\n")
JOB = "/apis/batch/v1/namespaces/vllm-eval/jobs/evalchemy"


@pytest.fixture
def kubectl(kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def check(**groups: dict[str, Any]) -> None:
    given = {**program.stack_file("prod"), "cluster": {"context": "prod"}, **groups}
    preflight.check(program.load(given, stack="prod"))


def namespace(stack: str) -> dict[str, Any]:
    labels = program.run(program.stack_file("prod"), stack=stack).one("Namespace", "argocd").metadata["labels"]
    return {"metadata": {"name": "argocd", "labels": labels}}


def test_the_stacks_own_argocd_may_not_go_before_its_application() -> None:
    (sentence,) = preflight.removal_faults(namespace("prod"), "prod")
    assert sentence.startswith("vllm-eval:argocd.install is false, but the Argo CD in namespace argocd")
    assert "pulumi destroy" in sentence
    for live_one in (None, {"metadata": {"name": "argocd"}}, namespace("dev")):
        assert list(preflight.removal_faults(live_one, "prod")) == []


def crd(release: str | None, where: str | None) -> dict[str, Any]:
    helms = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": where}
    return {"metadata": {"annotations": helms} if release else {}}


def test_an_argocd_that_helm_would_not_take_over() -> None:
    for fits in (None, crd("argocd", "argocd")):
        assert list(preflight.installation_faults(fits, "argocd")) == []
    (moved,) = preflight.installation_faults(crd("argocd", "argocd"), "gitops")
    assert "those of the helm release argocd in namespace argocd" in moved
    assert "for the release argocd in namespace gitops" in moved
    assert "pulumi config set --path 'vllm-eval:argocd.namespace' argocd" in moved
    (theirs,) = preflight.installation_faults(crd("tools", "argocd"), "argocd")
    assert "those of the helm release tools in namespace argocd" in theirs
    assert "pulumi config set --path 'vllm-eval:argocd.install' false" in theirs
    assert "those of no helm release" in next(preflight.installation_faults(crd(None, None), "argocd"))


def test_an_account_that_may_not_read_everything_may_still_preview(kubectl: Path) -> None:
    forbidden = (1, "", 'Error from server (Forbidden): namespaces "argocd" is forbidden')
    kinds = {"resources": [{"kind": "AppProject"}, {"kind": "Application"}]}
    served = {JOB: MISSING, "/apis/argoproj.io/v1alpha1": (0, json.dumps(kinds), "")}
    for install in (True, False):
        fake_kubectl(kubectl, {**served, "*": forbidden})
        check(argocd={"install": install}, monitoring={"enabled": False})
    fake_kubectl(kubectl, {"*": forbidden})
    with pytest.raises(preflight.PreflightError, match=r"cannot be used: Error from server \(Forbidden\)"):
        check(monitoring={"enabled": False})


def test_all_faults_are_told_at_once(kubectl: Path) -> None:
    answers = {
        **OTHERS,
        JOB: (0, json.dumps(live("pulumi")), ""),
        "/apis/monitoring.coreos.com/v1": MISSING,
        "/apis/argoproj.io/v1alpha1": MISSING,
        "/api/v1/namespaces/argocd": (0, json.dumps(namespace("prod")), ""),
    }
    fake_kubectl(kubectl, answers)
    with pytest.raises(preflight.PreflightError) as caught:
        check(argocd={"install": False})
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "The Job vllm-eval/evalchemy is still Pulumi's",
        "vllm-eval",
        "The cluster has no PrometheusRule and no ServiceMonitor",
        "The cluster has no AppProject and no Application",
    ]


def test_names_of_another_stack_are_refused_each_with_a_name_of_ones_own(kubectl: Path) -> None:
    other = {"labels": {"app.kubernetes.io/managed-by": "pulumi", "app.kubernetes.io/instance": "other"}}
    taken = {
        path: (0, json.dumps({"kind": kind, "metadata": {"name": path.rpartition("/")[2], **other}}), "")
        for path, kind in zip(OTHERS, ("Namespace", "Application", "AppProject"), strict=True)
    }
    fake_kubectl(kubectl, {**taken, preflight.ARGOCD_CRD: MISSING, JOB: MISSING})
    with pytest.raises(preflight.PreflightError) as caught:
        check(monitoring={"enabled": False})
    lines = str(caught.value).splitlines()
    assert ["'other'" in line for line in lines] == [True, True, True]
    assert "'vllm-eval:evaluation.namespace' evaluations-" in lines[0]
    assert "'vllm-eval:argocd.application' vllm-evalchemy-job-" in lines[1]
    assert "'vllm-eval:argocd.project' vllm-eval-" in lines[2]
    fake_kubectl(kubectl, {**OTHERS, PROJECT: taken[PROJECT], preflight.ARGOCD_CRD: MISSING, JOB: MISSING})
    check(monitoring={"enabled": False}, argocd={"own_project": False})


def test_only_what_the_stack_needs_is_asked_for(kubectl: Path) -> None:
    argocd = {**OTHERS, preflight.ARGOCD_CRD: MISSING}
    fake_kubectl(kubectl, {**argocd, JOB: MISSING})
    check(monitoring={"enabled": False})
    fake_kubectl(kubectl, {**argocd, JOB: MISSING, "/apis/monitoring.coreos.com/v1": (0, json.dumps(RESOURCES), "")})
    check()


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("I1 log line\nerror: You must be logged in to the server (Unauthorized)\n", "error: You must be logged in to"),
        ("", "kubectl gave no reason"),
    ],
)
def test_a_cluster_that_cannot_be_used(stderr: str, reason: str, kubectl: Path) -> None:
    fake_kubectl(kubectl, {"*": (1, "", stderr)})
    with pytest.raises(preflight.PreflightError, match=f"The cluster of context 'prod' cannot be used: {reason}"):
        check(monitoring={"enabled": False})


def test_in_the_cluster_no_kubeconfig_is_asked_for(
    kubectl: Path, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig.unlink()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    fake_kubectl(kubectl, {"*": (1, "", "forbidden")})
    with pytest.raises(preflight.PreflightError, match="The pod's own cluster cannot be used: forbidden"):
        check(cluster={"in_cluster": True}, monitoring={"enabled": False})


def test_in_the_cluster_a_kubeconfig_may_not_lead_elsewhere(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(preflight.PreflightError, match=f"in_cluster is true, .*{kubeconfig}.*unset KUBECONFIG"):
        check(cluster={"in_cluster": True})


def test_in_the_cluster_means_in_a_pod(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    cure = "pulumi config set --path 'vllm-eval:cluster.context' NAME"
    with pytest.raises(preflight.PreflightError, match=f"in_cluster is true, .*KUBERNETES_SERVICE_HOST.*{cure}"):
        check(cluster={"in_cluster": True})


def test_without_kubectl_the_check_is_said_to_be_skipped(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    warned: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", warned.append)
    check()
    (told,) = warned
    assert told.startswith("kubectl is not on PATH: ")


def test_nothing_of_the_sdk_is_loaded_before_the_cluster_is_asked() -> None:
    # Half a preview's own time: it passes while kubectl waits, or else before it starts.
    script = (
        "import sys, runpy\n"
        "runpy.run_path('__main__.py', run_name='program')\n"
        "print(*[name for name in sys.modules if name.startswith('pulumi_kubernetes.') and name.count('.') > 1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


def test_an_environment_without_the_runner_is_told_what_to_run() -> None:
    script = "import sys, runpy\nsys.modules['vllm_eval'] = None\nrunpy.run_path('__main__.py', run_name='program')\n"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr.splitlines()[-1].endswith("this Python environment lacks the package vllm_eval: run `make venv`")
