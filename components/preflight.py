"""Looks at the cluster before anything is declared, so that each missing thing is reported in one plain sentence.

kubectl asks, because it knows every way to log in to a cluster (plugins, OIDC,
client certificates) exactly as the user's own shell does.

``python -m components.preflight STACK < Pulumi.STACK.yaml`` does the same without an update.
"""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pulumi
import yaml

from components import cluster as cluster_of
from components import labels
from components.settings import Settings, SettingsError
from components.settings.model import Cluster, Owner
from components.settings.stack_file import read

JOBS: Final = "/apis/batch/v1/namespaces/{namespace}/jobs/{name}"
APPLICATIONS: Final = "/apis/argoproj.io/v1alpha1/namespaces/{namespace}/applications/{name}"
PROJECTS: Final = "/apis/argoproj.io/v1alpha1/namespaces/{namespace}/appprojects/{name}"
NAMESPACES: Final = "/api/v1/namespaces/{namespace}"
CLAIMS: Final = "/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}"
ARGOCD_CRD: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/applications.argoproj.io"
SECONDS: Final = 15
NOT_FOUND: Final = "(NotFound)"
FORBIDDEN: Final = "(Forbidden)"


class PreflightError(pulumi.RunError):
    """The cluster is not what the settings say; Pulumi prints it without a stack trace."""


@dataclass(frozen=True)
class Kinds:
    """Kinds that the CRDs of another product define, and the cure if they are missing."""

    path: str
    names: tuple[str, ...]
    cure: str


OPERATOR: Final = Kinds(
    "/apis/monitoring.coreos.com/v1",
    ("PrometheusRule", "ServiceMonitor"),
    "install the Prometheus Operator's CRDs (chart prometheus-operator-crds), or run"
    f" `pulumi config set --path '{labels.PROJECT}:monitoring.enabled' false`",
)
RECEIVERS: Final = Kinds(
    "/apis/monitoring.coreos.com/v1alpha1",
    ("AlertmanagerConfig",),
    "install the Prometheus Operator's CRDs (chart prometheus-operator-crds), or run"
    f" `pulumi config rm --path '{labels.PROJECT}:monitoring.receivers'`",
)
ARGOCD: Final = Kinds(
    "/apis/argoproj.io/v1alpha1",
    ("AppProject", "Application"),
    f"install Argo CD, or run `pulumi config set --path '{labels.PROJECT}:argocd.install' true`",
)


def main() -> int:
    """Print each fault as a line on standard error and return 2; if the settings are wrong, check only the context."""
    text = sys.stdin.buffer.read()
    try:
        try:
            settings = read(sys.argv[1], text)
        except SettingsError as error:
            try:
                context = yaml.safe_load(text)["config"][f"{labels.PROJECT}:cluster"]["context"]
            except (yaml.YAMLError, KeyError, TypeError):
                print(error, file=sys.stderr)
                return 2
            check_context(Cluster(context=context))
        else:
            check(settings)
    except PreflightError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def check(settings: Settings) -> None:
    """Check kubeconfig, reachability, CRDs, and the owners of the live Job and the live Argo CD.

    Raises
    ------
    PreflightError
        One sentence for each fault, with its cure.
    """
    cluster = settings.cluster
    if cluster.in_cluster:
        check_pod()
    else:
        check_context(cluster)
    if (hub := cluster_of.hub(settings)) is not cluster:
        check_context(hub)
    if shutil.which("kubectl") is None:
        pulumi.log.warn("kubectl is not on PATH: whether the cluster is reachable and has the CRDs was not checked")
        return
    namespace = settings.evaluation.namespace
    job = JOBS.format(namespace=namespace, name=labels.EVALUATION)
    # An Argo CD that this stack installs brings its own kinds.
    wanted = [OPERATOR] * settings.monitoring.enabled + [ARGOCD] * (not settings.argocd.install)
    wanted += [RECEIVERS] * bool(settings.monitoring.receivers)
    argocd = ARGOCD_CRD if settings.argocd.install else NAMESPACES.format(namespace=settings.argocd.namespace)
    application = APPLICATIONS.format(namespace=settings.argocd.namespace, name=settings.argocd.application)
    project = PROJECTS.format(namespace=settings.argocd.namespace, name=settings.argocd.project)
    argocds = [argocd, application, *[project] * settings.argocd.own_project]
    own = NAMESPACES.format(namespace=namespace)
    data = settings.evaluation.data
    claims = {name: CLAIMS.format(namespace=namespace, name=name) for name in data.claims} if data else {}
    here = [job, *(kinds.path for kinds in wanted if kinds is not ARGOCD)]
    there = [kinds.path for kinds in wanted if kinds is ARGOCD]
    if hub is cluster:
        answers = _get(cluster, [*here, *there], [own, *argocds, *claims.values()])
    else:
        answers = {**_get(cluster, here, [own, *claims.values()]), **_get(hub, there, argocds)}
    faults = [*stack_faults(answers[own], settings.stack, "evaluation.namespace", f"evaluations-{settings.stack}")]
    for claim, path in claims.items():
        # No fault: an account for previews may not read claims, and a pod waits for a claim that is created later.
        if answers[own] is not None and answers[path] is None:
            pulumi.log.warn(f"The claim {namespace}/{claim} of evaluation.data was not found: pods wait for it")
    name = f"{labels.APPLICATION}-{settings.stack}"
    faults += stack_faults(answers[application], settings.stack, "argocd.application", name)
    faults += stack_faults(answers.get(project), settings.stack, "argocd.project", f"{labels.PROJECT}-{settings.stack}")
    faults += [*owner_faults(answers[job], settings.evaluation.owner, namespace)]
    if settings.argocd.install:
        faults += installation_faults(answers[argocd], settings.argocd.namespace)
    else:
        faults += removal_faults(answers[argocd], settings.stack)
    for kinds in wanted:
        faults += kind_faults(answers[kinds.path], kinds)
    if faults:
        raise PreflightError("\n".join(faults))


def check_pod() -> None:
    """Check that this is a pod, and that no kubeconfig would lead away from its cluster.

    Raises
    ------
    PreflightError
    """
    setting = f"{labels.PROJECT}:cluster.in_cluster is true, but"
    if "KUBERNETES_SERVICE_HOST" not in os.environ:
        raise PreflightError(
            f"{setting} this is no pod (KUBERNETES_SERVICE_HOST is not set): run Pulumi in the cluster, or name a"
            f" context instead: `pulumi config set --path '{labels.PROJECT}:cluster.context' NAME`."
        )
    # kubectl and the provider both prefer a kubeconfig, with whatever context is current there.
    if files := _kubeconfigs():
        raise PreflightError(
            f"{setting} the kubeconfig {files[0]} would decide which cluster is meant: unset KUBECONFIG, or move the"
            " file away."
        )


def check_context(cluster: Cluster) -> None:
    """Check that the kubeconfig has the context, and that it leads to the address that the settings pin.

    Raises
    ------
    PreflightError
    """
    files = _kubeconfigs()
    merged: dict[str, dict[str, Any]] = {"contexts": {}, "clusters": {}}
    for file in files:
        try:
            config = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
            for kind, entries in merged.items():
                for entry in config.get(kind) or []:
                    # As in kubectl: the first file that names it wins.
                    entries.setdefault(entry["name"], entry[kind.removesuffix("s")])
        except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            raise PreflightError(f"The kubeconfig {file} cannot be read: {error}") from None
    if cluster.context not in merged["contexts"]:
        known = ", ".join(sorted(merged["contexts"])) or "none"
        raise PreflightError(
            f"The kubeconfig has no context '{cluster.context}' (it has: {known}). Log in to the cluster, or point"
            f" KUBECONFIG to the file that has it; vllm-eval:cluster.context names it."
        )
    if cluster.server is not None:
        context = merged["contexts"][cluster.context]
        server = str(merged["clusters"].get(context.get("cluster"), {}).get("server", "nowhere"))
        if server.rstrip("/") != cluster.server.rstrip("/"):
            raise PreflightError(
                f"The context '{cluster.context}' leads to {server}, but vllm-eval:cluster.server pins"
                f" {cluster.server}: use the kubeconfig of that cluster."
            )


def kind_faults(answer: Any, kinds: Kinds) -> Iterator[str]:  # noqa: ANN401 (JSON)
    """Yield a sentence if the API server does not serve all of `kinds`."""
    served = {each["kind"] for each in answer["resources"]} if answer else set()
    absent = [name for name in kinds.names if name not in served]
    if absent:
        yield f"The cluster has no {' and no '.join(absent)}: {kinds.cure}."


def stack_faults(live: Any, stack: str, setting: str, other: str) -> Iterator[str]:  # noqa: ANN401 (JSON)
    """Yield a sentence if an object of this stack's names belongs to another stack."""
    found = live["metadata"].get("labels", {}) if live else {}
    owner = found.get(labels.INSTANCE, stack)
    if found.get(labels.MANAGED_BY) == "pulumi" and owner != stack:
        yield (
            f"{live['kind']} {live['metadata']['name']} belongs to the stack '{owner}': each stack of a cluster has"
            f" names of its own: `pulumi config set --path '{labels.PROJECT}:{setting}' {other}`."
        )


def owner_faults(live: Any, owner: Owner, namespace: str) -> Iterator[str]:  # noqa: ANN401 (JSON)
    """Yield a sentence if the live Job belongs to another owner than the settings say.

    While the old owner's Job exists, creating the new one fails because the name is
    taken, or the old owner deletes the new Job late.
    """
    if live is None:
        return
    pulumis = live["metadata"].get("labels", {}).get(labels.MANAGED_BY) == "pulumi"
    job = f"The Job {namespace}/{labels.EVALUATION}"
    if owner is Owner.PULUMI and not pulumis:
        yield (
            f"{job} is still there and is not Pulumi's. If Argo CD owns it, run `pulumi up` with evaluation.owner none"
            f" and wait until Argo CD has removed it; if it was applied by hand,"
            f" `kubectl -n {namespace} delete job {labels.EVALUATION}`."
        )
    elif owner is Owner.ARGOCD and pulumis:
        yield f"{job} is still Pulumi's: run `pulumi up` with evaluation.owner none first, which removes it."


def _kubeconfigs() -> list[Path]:
    """Return the files that kubectl would read."""
    files = [Path(each).expanduser() for each in os.environ.get("KUBECONFIG", "").split(os.pathsep) if each]
    return [each for each in files or [Path.home() / ".kube" / "config"] if each.is_file()]


def installation_faults(crd: Any, namespace: str) -> Iterator[str]:  # noqa: ANN401 (JSON)
    """Yield a sentence if Argo CD's CRDs belong to another installation: helm would fail halfway through an update."""
    if crd is None:
        return
    annotations = crd["metadata"].get("annotations", {})
    release, where = (annotations.get(f"meta.helm.sh/release-{each}") for each in ("name", "namespace"))
    if (release, where) == (labels.ARGOCD_RELEASE, namespace):
        return
    theirs = f"the helm release {release} in namespace {where}" if release else "no helm release"
    cure = f"To use that Argo CD, run `pulumi config set --path '{labels.PROJECT}:argocd.install' false`."
    if release == labels.ARGOCD_RELEASE:
        cure = f"To keep that one, run `pulumi config set --path '{labels.PROJECT}:argocd.namespace' {where}`."
    yield (
        f"Argo CD's CRDs are in the cluster already, those of {theirs}, and helm would not take them over for the"
        f" release {labels.ARGOCD_RELEASE} in namespace {namespace}. {cure}"
    )


def removal_faults(live: Any, stack: str) -> Iterator[str]:  # noqa: ANN401 (JSON)
    """Yield a sentence if the Argo CD that the stack is told to find is its own.

    Without Argo CD no controller would finish the deletion of the Application, so the
    Application and its namespace would stay in the state Terminating.
    """
    found = live["metadata"].get("labels", {}) if live else {}
    ours = labels.standard(labels.ARGOCD_RELEASE, stack)
    if ours.items() <= found.items():
        yield (
            f"{labels.PROJECT}:argocd.install is false, but the Argo CD in namespace {live['metadata']['name']} is this"
            " stack's own, and must not go before its Application: run `pulumi destroy` with the old settings first."
        )


def _load_sdk() -> None:
    """Load the SDK's modules while kubectl waits for the cluster. Otherwise the first object of each kind would."""
    for module in ("core.v1", "apps.v1", "networking.v1", "helm.v3"):
        importlib.import_module(f"pulumi_kubernetes.{module}")


def _get(cluster: Cluster, paths: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Any]:
    """Return what the API server answers to each path, None where there is nothing; all are asked at once.

    An account for previews may not read the `optional` paths; what it may not read counts as not there.
    """
    context = ["--context", cluster.context] if cluster.context else []
    command = ["kubectl", *context, f"--request-timeout={SECONDS}s", "get", "--raw"]

    def get(path: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*command, path], capture_output=True, text=True, check=False)

    every = [*paths, *optional]
    with ThreadPoolExecutor(len(every)) as pool:
        asked = pool.map(get, every)
        _load_sdk()
        done = dict(zip(every, asked, strict=True))
    answers: dict[str, Any] = {}
    for path, process in done.items():
        if process.returncode == 0:
            answers[path] = json.loads(process.stdout)
        elif NOT_FOUND in process.stderr or (path in optional and FORBIDDEN in process.stderr):
            answers[path] = None
        else:
            where = "The pod's own cluster" if cluster.in_cluster else f"The cluster of context '{cluster.context}'"
            reason = (process.stderr.strip().splitlines() or ["kubectl gave no reason"])[-1]
            raise PreflightError(f"{where} cannot be used: {reason}")
    return answers


if __name__ == "__main__":
    sys.exit(main())
