"""The group `evaluation.report`: how the reports are opened in a cluster."""

from typing import Final

from pydantic import Field, field_validator

from components.settings.forms import DnsLabel, ImageReference, LabelSet
from components.settings.group import Group, Resources

REPORT_RESOURCES: Final = Resources(requests={"cpu": "10m", "memory": "128Mi"}, limits={"memory": "512Mi"})


class ReportReader(Group):
    """Pods that may open the reports."""

    namespace: DnsLabel = Field(description="Their namespace.", examples=["ingress-nginx"])
    labels: LabelSet = Field(default_factory=dict, description="Their labels (none: every pod there).")


class Report(Group):
    """How people who can reach the cluster open the reports; `evaluation.pod` applies to this pod, too."""

    service: bool = Field(
        False, description="Serve the reports from the results, read-only, as Service vllm-eval-report."
    )
    image: ImageReference | None = Field(
        None,
        description="The runner's image; default: the one in `k8s/evalchemy-job.yaml` or `image`.",
        examples=["ghcr.io/your-org/vllm-eval-evalchemy"],
    )
    readers: tuple[ReportReader, ...] = Field(
        (), description="Pods that may open them, such as an ingress; `kubectl port-forward` always can."
    )
    resources: Resources = Field(
        REPORT_RESOURCES, description="Requests and limits of the container, laid over the defaults."
    )

    @field_validator("resources")
    @classmethod
    def _over_the_defaults(cls, given: Resources) -> Resources:
        return given.over(REPORT_RESOURCES)
