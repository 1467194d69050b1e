"""The Pushgateway that keeps the last scores, and how Prometheus finds it."""

# Annotations that name the SDK's types would load them: `preflight` does it while it waits for the cluster.
from __future__ import annotations

from typing import Any, Final

import pulumi
import pulumi_kubernetes as k8s

from components import labels, versions
from components.settings.monitored import Monitoring

__all__ = ["Pushgateway"]

USER: Final = 65534  # the image's own


class Pushgateway(pulumi.ComponentResource):
    """Deployment, Service, claim and ServiceMonitor.

    Parameters
    ----------
    name
        Name of the component.
    settings
        The group of settings.
    stack
        Name of the stack, for the labels.
    namespace
        Where it runs.
    opts
        Options of the component.
    """

    def __init__(
        self,
        name: str,
        *,
        settings: Monitoring,
        stack: str,
        namespace: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("vllm-eval:pushgateway:Pushgateway", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        every = labels.standard(labels.PUSHGATEWAY, stack)
        metadata: k8s.meta.v1.ObjectMetaArgsDict = {
            "name": labels.PUSHGATEWAY,
            "namespace": namespace,
            "labels": every,
        }
        claim = k8s.core.v1.PersistentVolumeClaim(
            "claim",
            # Classes with WaitForFirstConsumer bind it only when the Deployment's pod comes.
            metadata={**metadata, "annotations": {"pulumi.com/skipAwait": "true"}},
            spec=_claim(settings),
            opts=child,
        )
        self.deployment = k8s.apps.v1.Deployment(
            "deployment",
            metadata=metadata,
            spec={
                "replicas": 1,
                # Two at once would both write the claim, or wait for it on another node.
                "strategy": {"type": "Recreate"},
                "selector": {"match_labels": labels.selector(labels.PUSHGATEWAY)},
                "template": {"metadata": {"labels": every}, "spec": _pod(settings)},
            },
            # A claim goes only when no pod uses it, so another class of volume takes another Deployment.
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[claim], replace_with=[claim], delete_before_replace=True
            ),
        )
        service = k8s.core.v1.Service(
            "service",
            metadata=metadata,
            spec={
                "selector": labels.selector(labels.PUSHGATEWAY),
                "ports": [{"name": "http", "port": labels.PUSHGATEWAY_PORT, "target_port": "http"}],
            },
            # A Service is awaited until it has endpoints, so it comes after its pods.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.deployment]),
        )
        monitored = labels.monitored(labels.PUSHGATEWAY, stack, settings.release, settings.labels)
        monitor = k8s.apiextensions.CustomResource(
            "monitor",
            api_version="monitoring.coreos.com/v1",
            kind="ServiceMonitor",
            metadata={**metadata, "labels": monitored},
            spec=monitor_spec(settings),
            opts=child,
        )
        self.ready: list[pulumi.Resource] = [claim, service, self.deployment, monitor]
        self.register_outputs({"service": labels.PUSHGATEWAY})


def monitor_spec(settings: Monitoring) -> dict[str, Any]:
    """Return the spec of the ServiceMonitor."""
    endpoint = {
        "port": "http",
        "interval": f"{settings.scrape_interval_seconds}s",
        "scrapeTimeout": f"{min(10, settings.scrape_interval_seconds)}s",
        # The pushed series' own job and stack count, not the gateway's.
        "honorLabels": True,
    }
    return {"selector": {"matchLabels": labels.selector(labels.PUSHGATEWAY)}, "endpoints": [endpoint]}


def _claim(settings: Monitoring) -> k8s.core.v1.PersistentVolumeClaimSpecArgsDict:
    return {
        "access_modes": ["ReadWriteOnce"],
        "storage_class_name": settings.pushgateway.storage_class,
        "resources": {"requests": {"storage": settings.pushgateway.size}},
    }


def _pod(settings: Monitoring) -> k8s.core.v1.PodSpecArgsDict:
    digest = settings.pushgateway.digest
    resources = settings.pushgateway.resources
    return {
        "automount_service_account_token": False,
        "enable_service_links": False,
        "security_context": {
            "run_as_non_root": True,
            "run_as_user": USER,
            "run_as_group": USER,
            "fs_group": USER,
            "seccomp_profile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "pushgateway",
                "image": f"{versions.PUSHGATEWAY_IMAGE}@{digest}" if digest else versions.PUSHGATEWAY_IMAGE,
                "args": [
                    f"--web.listen-address=:{labels.PUSHGATEWAY_PORT}",
                    "--persistence.file=/data/metrics",
                    # What is not written is lost until the next run, which may be a day away.
                    "--persistence.interval=5s",
                ],
                "ports": [{"name": "http", "container_port": labels.PUSHGATEWAY_PORT}],
                "readiness_probe": {"http_get": {"path": "/-/ready", "port": "http"}, "period_seconds": 5},
                "liveness_probe": {"http_get": {"path": "/-/healthy", "port": "http"}, "period_seconds": 20},
                "resources": {"requests": dict(resources.requests), "limits": dict(resources.limits)},
                "security_context": {
                    "allow_privilege_escalation": False,
                    "read_only_root_filesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volume_mounts": [{"name": "data", "mount_path": "/data"}],
            }
        ],
        "volumes": [{"name": "data", "persistent_volume_claim": {"claim_name": labels.PUSHGATEWAY}}],
    }
