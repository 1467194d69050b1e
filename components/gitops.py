"""What Argo CD may sync and what it does sync: AppProject, Application, repository credential.

The objects in `k8s/` are Argo CD's; this component only points it to them and
hands over the stack's patches.
"""

# Type annotations must not load the SDK's modules: `preflight` does that while it waits for the cluster.
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pulumi
import pulumi_kubernetes as k8s

from components import labels, patches
from components.settings.model import ArgoCDSettings, Git

__all__ = ["GitOps"]

API_VERSION: Final = "argoproj.io/v1alpha1"


class GitOps(pulumi.ComponentResource):
    """The Application and the project that confines it.

    Parameters
    ----------
    name
        Name of the component.
    git, argocd
        The groups of settings.
    stack
        Name of the stack, for the labels.
    namespace
        Where the evaluation runs.
    stack_patches
        What the stack sets on the manifests, from `patches`.
    password, ssh_key
        Credential of a private repository.
    annotations, hooks
        What the Application carries besides.
    ready
        What must exist before the first sync, and outlive the last one: Argo CD
        must still run while the Application's finalizer removes what was synced.
    opts
        Options of the component.
    """

    def __init__(
        self,
        name: str,
        *,
        git: Git,
        argocd: ArgoCDSettings,
        stack: str,
        namespace: str,
        stack_patches: Sequence[patches.Manifest],
        password: pulumi.Output[str] | None = None,
        ssh_key: pulumi.Output[str] | None = None,
        annotations: Mapping[str, str] | None = None,
        hooks: pulumi.ResourceHookBinding | None = None,
        ready: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("vllm-eval:gitops:GitOps", name, None, opts)
        after = pulumi.ResourceOptions(parent=self, depends_on=list(ready))
        needed: list[pulumi.Resource] = []
        if argocd.own_project:
            needed.append(self._project(git, argocd, stack, namespace, opts=after))
        if password is not None or ssh_key is not None:
            needed.append(self._credential(git, argocd, stack, password=password, ssh_key=ssh_key, opts=after))
        self.application = k8s.apiextensions.CustomResource(
            "application",
            api_version=API_VERSION,
            kind="Application",
            metadata={
                "name": argocd.application,
                "namespace": argocd.namespace,
                "labels": labels.standard(argocd.application, stack),
                # Server-side diff reports a changed Job template as an error, or misses it (argo-cd#29348, #28722).
                "annotations": {
                    "argocd.argoproj.io/compare-options": "ServerSideDiff=false",
                    **(annotations or {}),
                },
                # Deleting the Application deletes what it synced, before Argo CD itself may go.
                "finalizers": ["resources-finalizer.argocd.argoproj.io"],
            },
            spec=application_spec(git, argocd, namespace, stack_patches),
            # After a rename Pulumi would create the new Application first; deleting the old one would delete the Job.
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[*ready, *needed], hooks=hooks, delete_before_replace=True
            ),
        )
        self.register_outputs({"application": argocd.application})

    def _project(
        self, git: Git, argocd: ArgoCDSettings, stack: str, namespace: str, *, opts: pulumi.ResourceOptions
    ) -> pulumi.Resource:
        return k8s.apiextensions.CustomResource(
            "project",
            api_version=API_VERSION,
            kind="AppProject",
            metadata={
                "name": argocd.project,
                "namespace": argocd.namespace,
                "labels": labels.standard(argocd.project, stack),
            },
            spec=project_spec(git.repository, argocd, namespace),
            opts=opts,
        )

    def _credential(
        self,
        git: Git,
        argocd: ArgoCDSettings,
        stack: str,
        *,
        password: pulumi.Output[str] | None,
        ssh_key: pulumi.Output[str] | None,
        opts: pulumi.ResourceOptions,
    ) -> k8s.core.v1.Secret:
        data: dict[str, pulumi.Input[str]] = {"type": "git", "url": git.repository, "project": argocd.project}
        if ssh_key is not None:
            data["sshPrivateKey"] = ssh_key
        if password is not None:
            # Token servers take any user name, but not an empty one.
            data |= {"username": git.username or "git", "password": password}
        return k8s.core.v1.Secret(
            "repository",
            metadata={
                "name": f"{argocd.project}-repository",
                "namespace": argocd.namespace,
                "labels": {
                    **labels.standard("repository", stack),
                    "argocd.argoproj.io/secret-type": "repository",
                },
            },
            string_data=data,
            opts=opts,
        )


def destination(argocd: ArgoCDSettings) -> dict[str, str]:
    """Return how Argo CD knows the stack's cluster: an address, or a name."""
    return {"server" if "://" in argocd.destination else "name": argocd.destination}


def project_spec(repository: str, argocd: ArgoCDSettings, namespace: str) -> dict[str, Any]:
    """Return the spec of an AppProject that permits this repository, one namespace and two kinds."""
    return {
        "description": "Evaluation of served models.",
        "sourceRepos": [repository],
        "destinations": [{**destination(argocd), "namespace": namespace}],
        # Without this, Argo CD refuses CreateNamespace; the name excludes other namespaces (Argo CD 3.3 and later).
        "clusterResourceWhitelist": [{"group": "", "kind": "Namespace", "name": namespace}],
        "namespaceResourceWhitelist": [{"group": "batch", "kind": "Job"}, {"group": "batch", "kind": "CronJob"}],
    }


def application_spec(
    git: Git, argocd: ArgoCDSettings, namespace: str, stack_patches: Sequence[patches.Manifest]
) -> dict[str, Any]:
    """Return the spec of the Application."""
    return {
        "project": argocd.project,
        "source": {
            "repoURL": git.repository,
            "targetRevision": git.revision,
            "path": labels.MANIFESTS,
            "kustomize": patches.kustomize_source(stack_patches, namespace),
        },
        "destination": {**destination(argocd), "namespace": namespace},
        "syncPolicy": {
            "automated": {"prune": True, "selfHeal": True},
            # ApplyOutOfSyncOnly: otherwise each sync, of any commit, would force-replace the Job and re-run it.
            "syncOptions": ["CreateNamespace=true", "ApplyOutOfSyncOnly=true"],
            # refresh: a retry takes the newest commit, so that the next push cures a bad one.
            "retry": {
                "limit": 5,
                "refresh": True,
                "backoff": {"duration": "10s", "factor": 2, "maxDuration": "3m"},
            },
        },
    }
