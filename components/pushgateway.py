"""The Pushgateway that keeps the last scores, and how Prometheus finds it."""

# Type annotations must not load the SDK's modules: `preflight` does that while it waits for the cluster.
from __future__ import annotations

from typing import Any, Final

import pulumi
import pulumi_kubernetes as k8s

from components import labels, patches
from components.settings.monitored import Monitoring
from components.settings.pod import template_patch

__all__ = ["Pushgateway"]

CONTAINER: Final = "pushgateway"
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
            # StorageClasses with WaitForFirstConsumer bind it only when the Deployment's pod is scheduled.
            metadata={**metadata, "annotations": labels.UNAWAITED},
            spec=_claim(settings),
            opts=child,
        )
        self.deployment = k8s.apps.v1.Deployment(
            "deployment",
            metadata=metadata,
            spec={
                "replicas": 1,
                # Two pods at once would both write to the claim, or one would wait for it on another node.
                "strategy": {"type": "Recreate"},
                "selector": {"match_labels": labels.selector(labels.PUSHGATEWAY)},
                "template": pod_template(settings, every),
            },
            # A claim is deleted only when no pod uses it, so another storage class needs a new Deployment.
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
        # Prometheus keeps the labels job and stack of the pushed series, and does not replace them by the gateway's.
        "honorLabels": True,
    }
    return {"selector": {"matchLabels": labels.selector(labels.PUSHGATEWAY)}, "endpoints": [endpoint]}


def _claim(settings: Monitoring) -> k8s.core.v1.PersistentVolumeClaimSpecArgsDict:
    return {
        "access_modes": ["ReadWriteOnce"],
        "storage_class_name": settings.pushgateway.storage_class,
        "resources": {"requests": {"storage": settings.pushgateway.size}},
    }


def pod_template(settings: Monitoring, every: dict[str, str]) -> k8s.core.v1.PodTemplateSpecArgsDict:
    """Return the template of the gateway's pod, with keys in camel case, because patches are laid over it."""
    gateway = settings.pushgateway
    container = {
        "name": CONTAINER,
        "image": f"{gateway.image}@{gateway.digest}" if gateway.digest else gateway.image,
        "args": [
            f"--web.listen-address=:{labels.PUSHGATEWAY_PORT}",
            "--persistence.file=/data/metrics",
            # A score that is not written to disk is lost until the next run, perhaps a day later.
            "--persistence.interval=5s",
        ],
        "ports": [{"name": "http", "containerPort": labels.PUSHGATEWAY_PORT}],
        "readinessProbe": {"httpGet": {"path": "/-/ready", "port": "http"}, "periodSeconds": 5},
        "livenessProbe": {"httpGet": {"path": "/-/healthy", "port": "http"}, "periodSeconds": 20},
        "resources": {"requests": dict(gateway.resources.requests), "limits": dict(gateway.resources.limits)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": labels.PUSHGATEWAY}}],
    }
    laid: k8s.core.v1.PodTemplateSpecArgsDict = patches.lay(
        {"metadata": {"labels": every}, "spec": pod}, template_patch(gateway.pod, CONTAINER)
    )
    return laid
