"""Argo CD itself: its namespace and the Helm release.

What Argo CD then syncs is in `gitops.py`. Its CRDs stay when the release is deleted,
since deleting them would delete every Application of the cluster.
"""

from collections.abc import Mapping
from typing import Any, Final

import pulumi
import pulumi_kubernetes as k8s

from components import labels, versions
from components.settings.model import ArgoCDSettings

__all__ = ["ArgoCD"]

# A fixed time. Without it the chart writes the time of each rendering, so every preview would show a change.
PASSWORD_TIME: Final = "2026-01-01T00:00:00Z"  # noqa: S105 (a time)
# By default Argo CD self-heals at once. Right after a sync its cache may be outdated: it would consider the new Job
# missing or out of sync and replace it, which would be a second run (docs/adr/self-heal.md).
SELF_HEAL: Final = {"controller.self.heal.timeout.seconds": "30", "controller.self.heal.backoff.timeout.seconds": "0"}


class ArgoCD(pulumi.ComponentResource):
    """Argo CD as one Helm release.

    Parameters
    ----------
    name
        Name of the component.
    settings
        The group of settings.
    stack
        Name of the stack, for the labels.
    admin_hash
        bcrypt hash of the admin's password; without one Argo CD generates a password.
    opts
        Options of the component.
    """

    def __init__(
        self,
        name: str,
        *,
        settings: ArgoCDSettings,
        stack: str,
        admin_hash: pulumi.Output[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("vllm-eval:argocd:ArgoCD", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.namespace = k8s.core.v1.Namespace(
            "argocd",
            metadata={"name": settings.namespace, "labels": labels.standard("argocd", stack)},
            opts=child,
        )
        # A Release and not a Chart: a hook, which only helm runs, creates the chart's Redis secret.
        self.release = k8s.helm.v3.Release(
            "argocd",
            # Without a name each stack would get a random one, and the kept CRDs would belong to the first.
            name=labels.ARGOCD_RELEASE,
            namespace=self.namespace.metadata.name,
            **_source(settings),
            values=values(settings, admin_hash),
            timeout=settings.timeout_seconds,
            cleanup_on_fail=True,
            max_history=5,
            opts=child,
        )
        self.register_outputs({"namespace": self.namespace.metadata.name, "release": self.release.name})


def values(settings: ArgoCDSettings, admin_hash: pulumi.Output[str] | None) -> dict[str, Any]:
    """Return the chart's values: ours, with the settings' laid over them."""
    interval = settings.reconciliation_seconds
    config: dict[str, Any] = {
        "timeout.reconciliation": f"{interval}s",
        # Argo CD adds a random delay of up to a minute, too much for an interval of seconds.
        "timeout.reconciliation.jitter": f"{interval // 2}s",
        "admin.enabled": settings.admin,
    }
    if settings.url:
        config["url"] = settings.url
    ours: dict[str, Any] = {
        "global": {
            "image": {"repository": versions.ARGOCD_IMAGE, "tag": versions.ARGOCD_VERSION},
            "networkPolicy": {"create": True, "defaultDenyIngress": True},
        },
        "configs": {"cm": config, "params": dict(SELF_HEAL)},
        "dex": {"enabled": False},
        "notifications": {"enabled": False},
        # The chart has no `enabled` for it.
        "applicationSet": {"replicas": 0},
        "crds": {"install": True, "keep": True},
        "controller": {"resources": _resources("100m", "512Mi", "2Gi")},
        "repoServer": {"resources": _resources("50m", "256Mi", "1Gi")},
        "server": {"resources": _resources("50m", "128Mi", "512Mi")},
        "redis": {"resources": _resources("20m", "64Mi", "256Mi")},
        "redisSecretInit": {"resources": _resources("20m", "64Mi", "256Mi")},
    }
    if admin_hash is not None:
        secret = {"argocdServerAdminPassword": admin_hash, "argocdServerAdminPasswordMtime": PASSWORD_TIME}
        ours["configs"]["secret"] = secret
    return overlay(ours, settings.values)


def overlay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `over` laid over it, as helm does with two values files."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = overlay(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _source(settings: ArgoCDSettings) -> dict[str, Any]:
    if settings.chart_is_path:
        return {"chart": settings.chart}
    if settings.chart.startswith("oci://"):
        return {"chart": settings.chart, "version": settings.version}
    repository = k8s.helm.v3.RepositoryOptsArgs(repo=settings.repository)
    return {"chart": settings.chart, "version": settings.version, "repository_opts": repository}


def _resources(cpu: str, memory: str, limit: str) -> dict[str, dict[str, str]]:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": limit}}
