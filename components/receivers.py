"""The receivers of alerts as an AlertmanagerConfig: a route for the stack's alerts beside the cluster's own routes."""

from collections.abc import Mapping
from typing import Any, Final

import pulumi
import pulumi_kubernetes as k8s

from components import labels
from components.settings.monitored import Monitoring, Receiver, ReceiverKind
from monitoring import notices

__all__ = ["API_VERSION", "Receivers"]

API_VERSION: Final = "monitoring.coreos.com/v1alpha1"
# Names in the settings have no capital letters, so no receiver of a stack has this name.
NOBODY: Final = "Nobody"


class Receivers(pulumi.ComponentResource):
    """The AlertmanagerConfig, and the Secret with the addresses that are secrets of the stack file.

    The operator puts the route before the cluster's own routes, lets alerts continue to those (`continue`), and by
    default adds the matcher `namespace=<its own>`, a label that the stack's alerts carry.

    Parameters
    ----------
    name
        Name of the component.
    settings
        The group of settings.
    addresses
        Addresses of the receivers without `url`, by name.
    stack
        Name of the stack, which its alerts carry as a label.
    namespace
        Namespace of both; Secrets of others must be in it, too.
    opts
        Options of the component.
    """

    def __init__(
        self,
        name: str,
        *,
        settings: Monitoring,
        addresses: Mapping[str, pulumi.Output[str]],
        stack: str,
        namespace: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("vllm-eval:receivers:Receivers", name, None, opts)
        needs = []
        if addresses:
            needs.append(
                k8s.core.v1.Secret(
                    "addresses",
                    metadata={
                        "name": labels.RECEIVER_SECRET,
                        "namespace": namespace,
                        "labels": labels.standard(labels.RECEIVER_SECRET, stack),
                    },
                    string_data=dict(addresses),
                    opts=pulumi.ResourceOptions(parent=self),
                )
            )
        k8s.apiextensions.CustomResource(
            "config",
            api_version=API_VERSION,
            kind="AlertmanagerConfig",
            metadata={
                "name": labels.PROJECT,
                "namespace": namespace,
                "labels": labels.monitored(labels.PROJECT, stack, settings.release, settings.labels),
            },
            spec=spec(settings.receivers, stack),
            opts=pulumi.ResourceOptions(parent=self, depends_on=needs),
        )
        self.register_outputs({"config": labels.PROJECT})


def spec(receivers: tuple[Receiver, ...], stack: str) -> dict[str, Any]:
    """Return the `spec` of the AlertmanagerConfig."""
    return {
        "route": {
            "receiver": NOBODY,  # for alerts of severity info
            "matchers": [_matcher("alertname", notices.ALERTS, "=~"), _matcher("stack", stack)],
            "groupBy": list(notices.GROUP_BY),
            "groupWait": notices.GROUP_WAIT,
            "groupInterval": notices.GROUP_INTERVAL,
            "repeatInterval": notices.REPEAT_INTERVAL,
            "routes": [
                {
                    "receiver": each.name,
                    "matchers": [_matcher("severity", "|".join(each.severities), "=~")],
                    "continue": True,
                }
                for each in receivers
            ],
        },
        "inhibitRules": [
            {
                "sourceMatch": [_matcher("alertname", source), _matcher("stack", stack)],
                "targetMatch": [_matcher("alertname", target), _matcher("stack", stack)],
                "equal": list(notices.INHIBITED_BY),
            }
            for source, target in notices.INHIBITED
        ],
        "receivers": [{"name": NOBODY}, *map(_receiver, receivers)],
    }


def _receiver(receiver: Receiver) -> dict[str, Any]:
    secret, key = labels.RECEIVER_SECRET, receiver.name
    if receiver.url is not None:
        secret, key = receiver.url.secret, receiver.url.key
    address = {"name": secret, "key": key}
    if receiver.kind is ReceiverKind.WEBHOOK:
        return {"name": receiver.name, "webhookConfigs": [{"urlSecret": address, "sendResolved": True}]}
    channel = {} if receiver.channel is None else {"channel": receiver.channel}
    slack = {"apiURL": address, "sendResolved": True, **channel, **notices.SLACK}
    return {"name": receiver.name, "slackConfigs": [slack]}


def _matcher(name: str, value: str, kind: str = "=") -> dict[str, str]:
    return {"name": name, "matchType": kind, "value": value}
