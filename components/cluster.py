"""The one Kubernetes provider of the stack, pinned to the cluster that the settings name."""

import pulumi
import pulumi_kubernetes as k8s

from components import labels
from components.settings.model import Cluster, Settings


def hub(settings: Settings) -> Cluster:
    """Return the cluster where Argo CD runs, which may be the stack's own."""
    elsewhere = settings.argocd.context
    own = settings.cluster
    return own if elsewhere is None else own.model_copy(update={"context": elsewhere, "server": None})


def provider(cluster: Cluster, stack: str, name: str = labels.PROVIDER) -> k8s.Provider:
    """Return the provider of a cluster; all but Argo CD's objects use the one of the stack's own."""
    return k8s.Provider(
        name,
        context=cluster.context,
        # Without it, a new token or CA in the kubeconfig would make Pulumi plan to replace every object.
        cluster_identifier=stack if name == labels.PROVIDER else f"{stack}-{name}",
        # Otherwise a changed dashboard is deleted and created again, and Grafana loses it for a moment.
        enable_config_map_mutable=True,
        enable_secret_mutable=True,
        # A change by another field manager is reverted and not reported as a conflict.
        enable_patch_force=True,
        upsert_existing_objects=True if cluster.adopt else None,
        opts=pulumi.ResourceOptions(),
    )
