"""Where the evaluation runs: namespace, account, Secrets, results claim, network rules.

The Job and its nightly are Argo CD's (`gitops.py`) or, for `evaluation.owner:
pulumi`, the Job is :mod:`components.job`'s.
"""

# Type annotations must not load the SDK's modules: `preflight` does that while it waits for the cluster.
from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_kubernetes as k8s

from components import labels, network
from components.settings.keys import Secrets
from components.settings.model import EvaluationSettings, Model
from components.settings.monitored import Monitoring

__all__ = ["Evaluation"]


class Evaluation(pulumi.ComponentResource):
    """All that an evaluation pod needs in its namespace.

    Parameters
    ----------
    name
        Name of the component.
    settings, monitoring, models, secrets
        The groups of settings.
    stack
        Name of the stack, for the labels.
    opts
        Options of the component.
    """

    def __init__(
        self,
        name: str,
        *,
        settings: EvaluationSettings,
        monitoring: Monitoring,
        models: Sequence[Model],
        secrets: Secrets,
        stack: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("vllm-eval:evaluation:Evaluation", name, None, opts)
        self._stack = stack
        # The history of scores outlives the stack, unless the settings say otherwise.
        keep = pulumi.ResourceOptions(
            parent=self, protect=settings.results.keep, retain_on_delete=settings.results.keep
        )
        self.namespace = k8s.core.v1.Namespace(
            "namespace",
            metadata={"name": settings.namespace, "labels": labels.of_namespace(stack)},
            opts=keep,
        )
        self.ready: list[pulumi.Resource] = [self.namespace]
        child = pulumi.ResourceOptions(parent=self)
        registry = self._secrets(secrets, child)
        account = self._metadata(labels.EVALUATION)
        account.annotations = dict(settings.account_annotations) or None
        self.ready.append(
            k8s.core.v1.ServiceAccount(
                "account",
                metadata=account,
                automount_service_account_token=False,
                image_pull_secrets=[{"name": labels.REGISTRY_SECRET}] if registry else None,
                opts=child,
            )
        )
        if settings.results.url is None:
            self.ready.append(self._claim(settings, keep))
        gateway = monitoring.pushgateway
        data = settings.data
        rules = network.policies(
            models,
            settings.egress,
            monitoring.prometheus if monitoring.own_gateway else None,
            (gateway.network if monitoring.enabled else None, *(data.networks if data is not None else ())),
        )
        for policy, spec in rules.items():
            metadata = self._metadata(policy)
            self.ready.append(k8s.networking.v1.NetworkPolicy(policy, metadata=metadata, spec=spec, opts=child))
        self.register_outputs({"namespace": self.namespace.metadata.name})

    def _metadata(self, name: str) -> k8s.meta.v1.ObjectMetaArgs:
        return k8s.meta.v1.ObjectMetaArgs(
            name=name, namespace=self.namespace.metadata.name, labels=labels.standard(name, self._stack)
        )

    def _claim(self, settings: EvaluationSettings, opts: pulumi.ResourceOptions) -> k8s.core.v1.PersistentVolumeClaim:
        metadata = self._metadata(labels.RESULTS_CLAIM)
        # StorageClasses with WaitForFirstConsumer bind no claim before the first pod, which starts after the update.
        metadata.annotations = labels.UNAWAITED
        return k8s.core.v1.PersistentVolumeClaim(
            "results",
            metadata=metadata,
            spec={
                "access_modes": [settings.results.access_mode.value],
                "storage_class_name": settings.results.storage_class,
                "resources": {"requests": {"storage": settings.results.size}},
            },
            opts=opts,
        )

    def _secrets(self, secrets: Secrets, opts: pulumi.ResourceOptions) -> bool:
        """Declare the Secrets that are set; return whether there is one for the registry."""
        wanted: dict[str, tuple[str, Mapping[str, pulumi.Output[str]]]] = {}
        if secrets.endpoint:
            wanted["endpoints"] = (labels.ENDPOINT_SECRET, secrets.endpoint)
        if secrets.huggingface_token is not None:
            wanted["huggingface"] = (labels.HUGGINGFACE_SECRET, {"token": secrets.huggingface_token})
        if secrets.registry_credentials is not None:
            wanted["registry"] = (labels.REGISTRY_SECRET, {".dockerconfigjson": secrets.registry_credentials})
        for name, (secret, data) in wanted.items():
            self.ready.append(
                k8s.core.v1.Secret(
                    name,
                    metadata=self._metadata(secret),
                    type="kubernetes.io/dockerconfigjson" if name == "registry" else "Opaque",
                    string_data=dict(data),
                    opts=opts,
                )
            )
        return "registry" in wanted
