"""A small read-only web server for the reports, off by default: the runner's own image, in a pod of its own.

It has no login: everybody who can reach it can read prompts and answers. So a NetworkPolicy admits only
`evaluation.report.readers`, such as an ingress that has a login.
"""

# Type annotations must not load the SDK's modules: `preflight` does that while it waits for the cluster.
from __future__ import annotations

from typing import Any, Final

import pulumi
import pulumi_kubernetes as k8s

from components import labels, network, patches
from components.settings.model import EvaluationSettings
from components.settings.pod import template_patch

__all__ = ["Reports"]

CONTAINER: Final = "report"
RESULTS: Final = "/results"


class Reports(pulumi.ComponentResource):
    """Deployment, Service and NetworkPolicy.

    Parameters
    ----------
    name
        Name of the component.
    settings
        The group of settings.
    image
        The image that the stack chose, or None for the manifest's; `evaluation.report.image` takes precedence.
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
        settings: EvaluationSettings,
        image: pulumi.Input[str] | None,
        stack: str,
        namespace: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("vllm-eval:reports:Reports", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        every = labels.standard(labels.REPORT, stack)
        metadata: k8s.meta.v1.ObjectMetaArgsDict = {"name": labels.REPORT, "namespace": namespace, "labels": every}
        reaches = None if settings.results.url is None else settings.egress
        policy = network.report_policy(settings.report.readers, reaches)
        k8s.networking.v1.NetworkPolicy(labels.REPORT, metadata=metadata, spec=policy, opts=child)
        template = pod_template(settings, every, stack)
        template["spec"]["containers"][0]["image"] = settings.report.image or image or manifest_image()
        k8s.apps.v1.Deployment(
            labels.REPORT,
            # An update must not wait for a viewer that cannot start yet (CI has pushed no image, no claim is bound).
            metadata={**metadata, "annotations": labels.UNAWAITED},
            spec={
                "replicas": 1,
                "selector": {"match_labels": labels.selector(labels.REPORT)},
                "template": template,
            },
            opts=child,
        )
        k8s.core.v1.Service(
            labels.REPORT,
            metadata={**metadata, "annotations": labels.UNAWAITED},
            spec={
                "selector": labels.selector(labels.REPORT),
                "ports": [{"name": "http", "port": 80, "target_port": "http"}],
            },
            opts=child,
        )
        self.register_outputs({"service": labels.REPORT})


def manifest_image() -> str:
    """Return the image of the Job in this checkout."""
    image: str = patches.container()["image"]
    return image


def pod_template(settings: EvaluationSettings, every: dict[str, str], stack: str) -> Any:  # noqa: ANN401 (a manifest)
    """Return the pod's template without its image: with the evaluation's security context, and only the results."""
    base = patches.manifest()["spec"]["template"]["spec"]
    url = settings.results.url
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 (the pod's own volume)
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    if url is None:
        # Read-only at the mount: with readOnly on the volume source, some drivers would attach the volume once more.
        mounts.append({"name": "results", "mountPath": RESULTS, "readOnly": True})
        volumes.append({"name": "results", "persistentVolumeClaim": {"claimName": labels.RESULTS_CLAIM}})
    probe = {"httpGet": {"path": "/healthz", "port": "http"}}
    container = {
        "name": CONTAINER,
        "args": ["serve", "--address=*", f"--port={labels.REPORT_PORT}"],
        "env": [
            {"name": "VLLM_EVAL_STACK", "value": stack},
            {"name": "VLLM_EVAL_RESULTS", "value": url or RESULTS},
            {"name": "HOME", "value": "/tmp"},  # noqa: S108 (the pod's own volume)
        ],
        "ports": [{"name": "http", "containerPort": labels.REPORT_PORT}],
        "readinessProbe": {**probe, "periodSeconds": 10},
        "livenessProbe": {**probe, "periodSeconds": 30, "timeoutSeconds": 10},
        "resources": settings.report.resources.model_dump(),
        "securityContext": base["containers"][0]["securityContext"],
        "volumeMounts": mounts,
    }
    pod = {
        # For its pull secrets and, with a bucket, its cloud identity; the pod gets no token for the cluster.
        "serviceAccountName": labels.EVALUATION,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": base["securityContext"],
        "containers": [container],
        "volumes": volumes,
    }
    return patches.lay({"metadata": {"labels": every}, "spec": pod}, template_patch(settings.pod, CONTAINER))
