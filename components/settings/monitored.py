"""The group `monitoring`: what Prometheus and Grafana get."""

from enum import StrEnum
from typing import Final

from pydantic import Field, field_validator

from components import labels, versions
from components.settings.forms import (
    Cidr,
    Digest,
    DnsLabel,
    DnsName,
    Duration,
    ImageReference,
    LabelSet,
    LabelValue,
    Quantity,
    Text,
    Url,
)
from components.settings.group import Group, Resources
from components.settings.pod import Pod
from components.settings.secret_key import SecretKey
from monitoring.thresholds import DAY, STALE

GATEWAY_RESOURCES: Final = Resources(requests={"cpu": "10m", "memory": "32Mi"}, limits={"memory": "128Mi"})


class Network(Group):
    """How evaluation pods reach something: pods by labels, or addresses. `port` is the pod's, not the Service's."""

    namespace: DnsLabel | None = Field(None, description="Namespace of its pods.", examples=["serving"])
    labels: LabelSet = Field(default_factory=dict, description="Labels of its pods.", examples=[{"app": "vllm"}])
    cidr: Cidr | None = Field(None, description="Addresses, outside the cluster.", examples=["10.0.0.7/32"])
    port: int = Field(ge=1, le=65535, description="TCP port of its pods.", examples=[8000])


class PushgatewaySettings(Group):
    """The gateway that keeps the last scores."""

    url: Url | None = Field(
        None,
        description="A gateway that others run, in the place of one of the stack's own; Prometheus must read it with"
        " `honorLabels`.",
        examples=["http://pushgateway.monitoring.svc.cluster.local:9091"],
    )
    network: Network | None = Field(
        None, description="How that one is reached.", examples=[{"namespace": "monitoring", "port": 9091}]
    )
    image: ImageReference = Field(versions.PUSHGATEWAY_IMAGE, description="Its image; set it to pull from a mirror.")
    pod: Pod = Field(Pod(), description="Laid over its pod, as `evaluation.pod`.")
    size: Quantity = Field("1Gi", description="Size of its claim.")
    storage_class: DnsName | None = Field(None, description="Class of its claim; default: the cluster's.")
    digest: Digest | None = Field(
        None, description="Digest of the image, beside the pinned tag.", examples=["sha256:" + "0" * 64]
    )
    resources: Resources = Field(
        GATEWAY_RESOURCES, description="Requests and limits of the container, laid over the defaults."
    )

    @field_validator("resources")
    @classmethod
    def _over_the_defaults(cls, given: Resources) -> Resources:
        return given.over(GATEWAY_RESOURCES)


class Scraper(Group):
    """Which pods may read the gateway."""

    namespace: DnsLabel | None = Field(None, description="Their namespace (null: any).", examples=["monitoring"])
    labels: LabelSet = Field(default={labels.NAME: "prometheus"}, description="Their labels.")


class ReceiverKind(StrEnum):
    """What a receiver's address takes."""

    SLACK = "slack"
    WEBHOOK = "webhook"


class Severity(StrEnum):
    """What a receiver may be told; `info` is for the dashboard."""

    CRITICAL = "critical"
    WARNING = "warning"


class Receiver(Group):
    """Who is told of the stack's alerts, and of no others."""

    name: DnsLabel = Field(description="Its name.", examples=["team"])
    kind: ReceiverKind = Field(description="slack, or webhook, which gets Alertmanager's JSON.", examples=["slack"])
    url: SecretKey | None = Field(
        None,
        description="Its address, in a Secret of others; default: the secret `receiver-<name>`.",
        examples=[{"secret": "slack", "key": "url"}],
    )
    channel: Text | None = Field(
        None, description="Slack channel, if the address can post to several channels.", examples=["#model-quality"]
    )
    severities: tuple[Severity, ...] = Field(
        (Severity.CRITICAL, Severity.WARNING),
        description="Severities of the alerts that it receives.",
        examples=[["critical"]],
    )


class Monitoring(Group):
    """Pushgateway, alert rules and dashboard. Needs the Prometheus Operator's CRDs."""

    enabled: bool = Field(True, description="False on a cluster without the Prometheus Operator: nothing is published.")
    release: LabelValue = Field(
        "kube-prometheus-stack", description="Label `release` of rules and monitors, for Prometheus."
    )
    labels: LabelSet = Field(
        default={}, description="Additional labels of rules and monitors, for Prometheus' selectors."
    )
    scrape_interval_seconds: int = Field(30, ge=1, le=120, description="How often the gateway is scraped.")
    day: Duration = Field(DAY, description='How far back the alerts\' "day before" is; change it only for drills.')
    stale: Duration = Field(
        STALE,
        description="Age of the last run after which an alert reports a missed run; use 1.5 times the runs' interval.",
    )
    dashboard_labels: LabelSet = Field({"grafana_dashboard": "1"}, description="Labels for Grafana's sidecar.")
    dashboard: bool = Field(
        True, description="False where another stack of the cluster has the dashboard, or no Grafana sidecar reads it."
    )
    folder: Text = Field("vLLM", description="Grafana folder of the dashboard.")
    dashboard_url: Url | None = Field(
        None, description="Address of the dashboard in alerts.", examples=["https://grafana.example.com/d/vllm-eval"]
    )
    runbook_url: Url | None = Field(
        None, description="Address of the runbook in alerts; default: the project's, in `evaluation.language`."
    )
    report_url: Url | None = Field(
        None,
        description="Address of the reports' index (without `/index.html`), for links in alerts and on the dashboard.",
        examples=["https://reports.example.com"],
    )
    receivers: tuple[Receiver, ...] = Field(
        (),
        description="Who gets the alerts, by an AlertmanagerConfig that leaves the cluster's other routes as they are.",
    )
    pushgateway: PushgatewaySettings = Field(PushgatewaySettings(), description="The gateway.")
    prometheus: Scraper = Field(Scraper(), description="Which pods may read the gateway.")

    @property
    def own_gateway(self) -> bool:
        """Whether the stack declares a Pushgateway, with its claim and its ServiceMonitor."""
        return self.enabled and self.pushgateway.url is None
