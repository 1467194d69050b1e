"""The Kubernetes provider of the stack, pinned to the cluster that the settings name, and that of a hub."""

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
    """Return the provider of a cluster. With a hub, only the objects of Argo CD use the hub's."""
    return k8s.Provider(
        name,
        context=cluster.context,
        # Without it, a new token or CA in the kubeconfig would make Pulumi plan to replace every object.
        cluster_identifier=stack if name == labels.PROVIDER else f"{stack}-{name}",
        # Otherwise Pulumi would replace a changed dashboard, and Grafana would lose it for a moment.
        enable_config_map_mutable=True,
        enable_secret_mutable=True,
        # A change by another field manager is reverted and not reported as a conflict.
        enable_patch_force=True,
        upsert_existing_objects=True if cluster.adopt else None,
        opts=pulumi.ResourceOptions(),
    )
