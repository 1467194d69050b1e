"""The one Kubernetes provider of the stack, pinned to the cluster that the settings name."""

import pulumi
import pulumi_kubernetes as k8s

from components.settings.model import Cluster


def provider(cluster: Cluster, stack: str) -> k8s.Provider:
    """Return the provider that every resource of the stack uses."""
    return k8s.Provider(
        "cluster",
        context=cluster.context,
        # Without it, a new token or CA in the kubeconfig would make Pulumi plan to replace every object.
        cluster_identifier=stack,
        # Otherwise a changed dashboard is deleted and created again, and Grafana loses it for a moment.
        enable_config_map_mutable=True,
        enable_secret_mutable=True,
        # A change by another field manager is reverted and not reported as a conflict.
        enable_patch_force=True,
        upsert_existing_objects=True if cluster.adopt else None,
        opts=pulumi.ResourceOptions(),
    )
