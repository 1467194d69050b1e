"""The alert rules as a PrometheusRule; package `monitoring` makes the rules."""

from collections.abc import Sequence

import pulumi
import pulumi_kubernetes as k8s

import monitoring
from components import labels
from components.settings.model import Language, Model
from components.settings.monitored import Monitoring

__all__ = ["Alerts"]


class Alerts(pulumi.ComponentResource):
    """The PrometheusRule.

    Parameters
    ----------
    name
        Name of the component.
    settings, models
        The groups of settings; the alert for missed runs expects a run of each model.
    language
        Language of the texts.
    stack
        Name of the stack, for labels and selectors.
    namespace
        Namespace of the PrometheusRule.
    opts
        Options of the component.
    """

    def __init__(
        self,
        name: str,
        *,
        settings: Monitoring,
        models: Sequence[Model],
        language: Language,
        stack: str,
        namespace: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("vllm-eval:alerts:Alerts", name, None, opts)
        names = ("runbook_url", "dashboard_url", "report_url")
        links = {name: getattr(settings, name) for name in names}
        groups = monitoring.rule_groups(
            stack=stack,
            models=[model.name for model in models],
            day=settings.day,
            stale=settings.stale,
            scrape=settings.scrape_interval_seconds,
            language=language.value,
            **{key: url for key, url in links.items() if url is not None},
        )
        # By default an AlertmanagerConfig matches only alerts with its namespace as a label; expressions yield none.
        for rule in [rule for group in groups for rule in group["rules"] if "alert" in rule]:
            rule["labels"]["namespace"] = namespace
        k8s.apiextensions.CustomResource(
            "rules",
            api_version="monitoring.coreos.com/v1",
            kind="PrometheusRule",
            metadata={
                "name": labels.PROJECT,
                "namespace": namespace,
                "labels": labels.monitored(labels.PROJECT, stack, settings.release, settings.labels),
            },
            spec={"groups": groups},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"rules": labels.PROJECT})
