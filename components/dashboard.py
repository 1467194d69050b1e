"""The dashboard as a ConfigMap that Grafana's sidecar picks up; package `monitoring` makes the dashboard."""

import pulumi
import pulumi_kubernetes as k8s

import monitoring
from components import labels
from components.settings.monitored import Monitoring

__all__ = ["Dashboard"]


class Dashboard(pulumi.ComponentResource):
    """The ConfigMap.

    Parameters
    ----------
    name
        Name of the component.
    settings
        The group of settings.
    stack
        Name of the stack, for the labels.
    namespace
        Namespace of the ConfigMap; the sidecar must search all namespaces.
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
        super().__init__("vllm-eval:dashboard:Dashboard", name, None, opts)
        k8s.core.v1.ConfigMap(
            "dashboard",
            metadata={
                "name": labels.DASHBOARD,
                "namespace": namespace,
                "labels": {**settings.dashboard_labels, **labels.standard(labels.DASHBOARD, stack)},
                "annotations": {labels.DASHBOARD_FOLDER: settings.folder},
            },
            data={"vllm-eval.json": monitoring.committed_dashboard(settings.report_url)},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"uid": monitoring.DASHBOARD_UID})
