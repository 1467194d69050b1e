"""The one Kubernetes provider of the stack, pinned to the cluster that the settings name."""

import pulumi
import pulumi_kubernetes as k8s

from components.settings.model import Cluster


def provider(cluster: Cluster, stack: str) -> k8s.Provider:
    """Return the provider that every resource of the stack uses."""
    return k8s.Provider(
        "cluster",
        context=cluster.context,
        # Without it a new token or CA in the kubeconfig would plan the replacement of every object.
        cluster_identifier=stack,
        # Otherwise a new dashboard is a deletion and a creation, and Grafana loses it for a moment.
        enable_config_map_mutable=True,
        enable_secret_mutable=True,
        # Drift that another field manager made is repaired, not reported as a conflict.
        enable_patch_force=True,
        upsert_existing_objects=True if cluster.adopt else None,
        opts=pulumi.ResourceOptions(),
    )
