"""What a stack can set, group by group; each group is one structured key of the stack file.

The models are strict and frozen. A description ends up in the JSON schema that
editors use; the first example is the value that an error message proposes.

`Model` and `Baseline` have the names of the runner's own classes (`vllm_eval.models`), since they are the same things:
here as a stack file says them, there as the pod gets them (`patches.model_entry`).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag

from components import labels, versions
from components.settings.data import Data
from components.settings.forms import (
    ONE_LINE,
    ConfigName,
    Digest,
    DnsLabel,
    DnsName,
    GitAddress,
    ImageName,
    ImageTag,
    LabelValue,
    ModelName,
    QualifiedName,
    Quantity,
    Schedule,
    StoreUrl,
    Text,
    Url,
    Version,
)
from components.settings.group import Group, Resources
from components.settings.keys import Secrets
from components.settings.monitored import Monitoring, Network
from components.settings.pod import Pod
from components.settings.reports import Report
from components.settings.secret_key import SecretKey
from vllm_eval.asking import Reasoning
from vllm_eval.models import CONCURRENCY, MOST_REQUESTS, RunId, TaskName, ThinkEndToken
from vllm_eval.settings import RunSettings


class Cluster(Group):
    """Which cluster the stack lives on. There is no default: a stack never follows kubectl's current context."""

    context: Text | None = Field(
        None, description="Context of the kubeconfig (KUBECONFIG or ~/.kube/config).", examples=["prod-eu"]
    )
    in_cluster: bool = Field(False, description="Use the service account of the pod that Pulumi runs in.")
    server: Url | None = Field(
        None,
        description="Address that the context must lead to; a kubeconfig whose context leads elsewhere is refused.",
        examples=["https://k8s.example.com:6443"],
    )
    adopt: bool = Field(
        False, description="Take over objects that exist already, for one `up` after a destroy that kept the results."
    )


class Git(Group):
    """What Argo CD reads."""

    repository: GitAddress = Field(
        description="Address of this repository or of its fork.",
        examples=["https://github.com/your-org/vllm-eval.git"],
    )
    revision: Text = Field("main", description="Branch, tag or commit that this environment follows.")
    username: Text | None = Field(
        None, description="User of the secret `git-password`, for a private repository.", examples=["git"]
    )


class ArgoCDSettings(Group):
    """How Argo CD is installed."""

    install: bool = Field(True, description="False on a cluster that has an Argo CD (3.3 or later).")
    namespace: DnsLabel = Field("argocd", description="Namespace of Argo CD.")
    application: DnsLabel = Field(
        labels.APPLICATION, description="Name of the Application; another one for each stack of an Argo CD."
    )
    project: DnsLabel = Field(labels.PROJECT, description="Name of its AppProject; another one for each stack.")
    own_project: bool = Field(True, description="False if others manage that AppProject.")
    context: Text | None = Field(
        None,
        description="Context of the cluster where Argo CD runs, where it is a hub for several.",
        examples=["hub"],
    )
    destination: Text = Field(
        "https://kubernetes.default.svc",
        description="Address or name by which that Argo CD knows the stack's cluster.",
    )
    chart: Text = Field(
        "argo-cd",
        description="Chart name in `repository`, an oci:// address, or a local path (starts with / or .).",
    )
    repository: Url = Field(versions.ARGOCD_CHART_REPOSITORY, description="Helm repository of the chart.")
    version: Version = Field(versions.ARGOCD_CHART, description="Exact version of the chart; unused with a local path.")
    values: dict[str, Any] = Field(
        default_factory=dict, description="Values laid over the ones that the stack sets. No secrets: they are shown."
    )
    timeout_seconds: int = Field(600, ge=30, le=3600, description="How long an installation may take.")
    reconciliation_seconds: int = Field(
        120, ge=5, le=86400, description="How often Argo CD looks at Git (`timeout.reconciliation`)."
    )
    admin: bool = Field(True, description="Whether the local user `admin` exists; turn it off with SSO.")
    url: Url | None = Field(
        None, description="Address of Argo CD's UI for outputs and links.", examples=["https://argocd.example.com"]
    )

    @property
    def chart_is_path(self) -> bool:
        """Whether the chart is a folder of this machine."""
        return self.chart.startswith(("/", "."))


class Owner(StrEnum):
    """Who declares the evaluation Job. Exactly one does; `none` is the step between the other two."""

    ARGOCD = "argocd"
    PULUMI = "pulumi"
    NONE = "none"


class AccessMode(StrEnum):
    """How many nodes may mount the results claim."""

    ONE_NODE = "ReadWriteOnce"
    MANY_NODES = "ReadWriteMany"


class Results(Group):
    """Where results are kept: a claim, or a URL."""

    size: Quantity = Field("10Gi", description="Size of the claim.")
    storage_class: DnsName | None = Field(None, description="Class of the claim; default: the cluster's.")
    access_mode: AccessMode = Field(AccessMode.ONE_NODE, description="ReadWriteMany where pods run on several nodes.")
    url: StoreUrl | None = Field(
        None, description="fsspec URL used instead of a claim.", examples=["s3://evaluations/prod"]
    )
    keep: bool = Field(True, description="Claim and namespace are protected, and outlive the stack.")


SecretName = Annotated[
    Annotated[DnsLabel, Tag("(name)")] | Annotated[SecretKey, Tag("(key)")],
    Discriminator(lambda given: "(key)" if isinstance(given, dict | SecretKey) else "(name)"),
]
"""The `<name>` of a secret `endpoint-<name>`, or a key of a Secret of others."""


class Language(StrEnum):
    """What people read: texts of alerts and pages. Names of series, labels and alerts are the same in all."""

    ENGLISH = "en"
    KOREAN = "ko"


class EvaluationSettings(Group):
    """How the models are evaluated."""

    owner: Owner = Field(Owner.ARGOCD, description="Who declares the Job: argocd, pulumi or none.")
    namespace: DnsLabel = Field(labels.NAMESPACE, description="Namespace of everything but Argo CD.")
    schedule: Schedule | None = Field("0 18 * * *", description="Cron schedule of the nightly run (null: none).")
    time_zone: Text = Field("Etc/UTC", description="Time zone of the schedule.")
    parallelism: int = Field(1, ge=1, le=100, description="How many models are evaluated at once.")
    limit: int | None = Field(
        None, ge=1, description="Maximum number of items of each task (null: all).", examples=[100]
    )
    deadline_seconds: int = Field(
        int(RunSettings.deadline), ge=60, description="Maximum duration of the run of one model."
    )
    endpoint_wait_seconds: int = Field(
        int(RunSettings.endpoint_wait),
        ge=0,
        description="How long a run waits for a model that does not answer, at the start or later.",
    )
    answer_max_age_seconds: int = Field(
        int(RunSettings.answer_max_age),
        ge=0,
        description="Maximum age of a killed run's finished answers that the next run takes over.",
    )
    resources: Resources = Field(Resources(), description="Requests and limits of the container.")
    results: Results = Field(Results(), description="Where results are kept.")
    language: Language = Field(
        Language.ENGLISH, description="Language of the alerts' texts and of the reports: en or ko."
    )
    report: Report = Field(Report(), description="How the reports are opened in the cluster.")
    egress: tuple[Network, ...] = Field(
        (),
        description="What pods may reach besides models, gateway and DNS.",
        examples=[[{"cidr": "0.0.0.0/0", "port": 443}]],
    )
    pod: Pod = Field(Pod(), description="Laid over the pods of Job and nightly, in Kubernetes' own names.")
    queue: LabelValue | None = Field(
        None, description="Queue of Kueue (`kueue.x-k8s.io/queue-name`) for Job and nightly.", examples=["evaluations"]
    )
    huggingface_token: SecretKey | None = Field(
        None,
        description="Token in a Secret of others, in the place of the secret `huggingface-token`.",
        examples=[{"secret": "hub", "key": "token"}],
    )
    config: ConfigName | None = Field(
        None,
        description="File of the image's `configs/` that lists the tasks, without `.json` (default: `eval_config`).",
        examples=["suites/korean"],
    )
    data: Data | None = Field(None, description="Where the items of lm_eval's own tasks come from (null: nowhere).")
    account_annotations: dict[QualifiedName, str] = Field(
        default_factory=dict,
        description="Annotations of the pods' ServiceAccount, such as a cloud identity's.",
        examples=[{"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/evaluations"}],
    )


class Image(Group):
    """The evaluation image, only with `evaluation.owner: pulumi`; otherwise Git decides."""

    repository: ImageName | None = Field(
        None, description="Registry and name.", examples=["ghcr.io/your-org/vllm-eval-evalchemy"]
    )
    tag: ImageTag = Field("latest", description="Tag.")
    digest: Digest | None = Field(None, description="Digest; wins over the tag.", examples=["sha256:" + "0" * 64])
    lookup: bool = Field(False, description="Look the tag's digest up at each `up` (pulumi-docker).")
    build: bool = Field(False, description="Build and push at each `up` (pulumi-docker; needs a Docker daemon).")


class Api(StrEnum):
    """Which OpenAI API a model is asked by."""

    COMPLETIONS = "completions"
    CHAT = "chat"


# YAML 1.1 reads a bare `off` as false.
ReasoningWord = Annotated[Reasoning, BeforeValidator(lambda given: "off" if given is False else given)]


class Baseline(Group):
    """The accepted baseline."""

    run: Annotated[RunId, ONE_LINE] = Field(description="Run id to compare with.", examples=["0b0f5d4c-…"])


class Model(Group):
    """One served model."""

    name: ModelName = Field(
        description="Label `model` of its series; `name@tag` where it stands for several tags.",
        examples=["google/gemma-3-270m"],
    )
    tag: ModelName = Field(description="Label `model_tag`; no two models share one.", examples=["v1"])
    endpoint: Url = Field(
        description="Base address of its OpenAI API.", examples=["http://vllm.serving.svc.cluster.local:8000/v1"]
    )
    network: Network = Field(description="How it is reached.", examples=[{"namespace": "serving", "port": 8000}])
    served_name: ModelName | None = Field(None, description="Name that the endpoint knows it by (default: name).")
    api: Api = Field(Api.COMPLETIONS, description="completions or chat.")
    concurrency: int = Field(CONCURRENCY, ge=1, le=MOST_REQUESTS, description="Requests in flight.")
    api_key: SecretName | None = Field(
        None,
        description="Names the secret `endpoint-<api_key>`, or a key of a Secret of others.",
        examples=["gemma-key"],
    )
    ca: SecretName | None = Field(None, description="The same for its CA bundle.", examples=["ca"])
    baseline: Baseline | None = Field(None, description="Accepted baseline (default: from the first good run on).")
    generation: dict[str, Any] | None = Field(
        None,
        description="Laid over the generation_kwargs of every task's YAML; a task's own `generation` lies over it.",
        examples=[{"temperature": 0.6, "top_p": 0.95, "max_tokens": 32768}],
    )
    reasoning: ReasoningWord | None = Field(
        None,
        description="off: thinking is turned off, any: it may think, required: an answer without a thought is a fault.",
    )
    think_end_token: Annotated[ThinkEndToken, ONE_LINE] | None = Field(
        None,
        description="Text that ends a thought, for a server without a reasoning parser.",
        examples=["</think>"],
    )
    stream: bool = Field(
        False,
        description="Stream answers token by token to measure the time to the first token; this slows the runner down.",
    )
    tasks: tuple[Annotated[TaskName, ONE_LINE], ...] | None = Field(
        None,
        min_length=1,
        description="Tasks and groups of the configuration that it is asked (default: all that are enabled).",
        examples=[["kmmlu_direct", "gsm8k"]],
    )


@dataclass(frozen=True)
class Settings:
    """Everything that a stack says, checked."""

    stack: str
    cluster: Cluster
    git: Git
    argocd: ArgoCDSettings
    evaluation: EvaluationSettings
    image: Image
    monitoring: Monitoring
    models: tuple[Model, ...]
    secrets: Secrets
