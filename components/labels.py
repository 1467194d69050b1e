"""Labels, names and places that several modules must agree on. Needs no package: the workbench imports it, too."""

from collections.abc import Mapping
from typing import Final

PROJECT: Final = "vllm-eval"

NAME: Final = "app.kubernetes.io/name"
PART_OF: Final = "app.kubernetes.io/part-of"
INSTANCE: Final = "app.kubernetes.io/instance"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"

EVALUATION: Final = "evalchemy"
"""Name of the Job, its container, its ServiceAccount, and their pods' `app.kubernetes.io/name`.

`k8s/evalchemy-job.yaml` says the same; a repository test compares them.
"""

MODELS_ANNOTATION: Final = "vllm-eval/models"
COMMIT_ANNOTATION: Final = "git-commit"
"""Annotations of the Job's pods: the list of models, and the commit of the image, which CI writes."""

NIGHTLY: Final = "evalchemy-nightly"
NAMESPACE: Final = "vllm-eval"
"""The namespace that the manifests in `k8s/` name; `evaluation.namespace` may move them."""

PUSHGATEWAY: Final = "vllm-eval-pushgateway"
PUSHGATEWAY_PORT: Final = 9091
REPORT: Final = "vllm-eval-report"
REPORT_PORT: Final = 8080
RESULTS_CLAIM: Final = "vllm-eval-results"
ENDPOINT_SECRET: Final = "vllm-eval-endpoints"  # noqa: S105 (a name)
HUGGINGFACE_SECRET: Final = "vllm-eval-huggingface"  # noqa: S105 (a name)
REGISTRY_SECRET: Final = "vllm-eval-registry"  # noqa: S105 (a name)
RECEIVER_SECRET: Final = "vllm-eval-receivers"  # noqa: S105 (a name)
ARGOCD_RELEASE: Final = "argocd"
DASHBOARD: Final = "vllm-eval-dashboard"
DASHBOARD_FOLDER: Final = "grafana_folder"
"""Annotation of the dashboard's ConfigMap by which Grafana's sidecar puts it into a folder."""
PROVIDER: Final = "cluster"
"""Name of the provider of the stack's own cluster; a hub's is another."""
UNAWAITED: Final = {"pulumi.com/skipAwait": "true"}
"""Annotation of what an update creates without waiting until it is ready."""
QUEUE: Final = "kueue.x-k8s.io/queue-name"
"""Label by which Kueue takes a Job into a queue."""

APPLICATION: Final = "vllm-evalchemy-job"

JOB_NAME: Final = "batch.kubernetes.io/job-name"
"""Label by which Kubernetes marks the pods of a Job."""
NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
"""Label by which Kubernetes marks every namespace with its name."""

MANIFESTS: Final = "k8s"
"""Folder of this repository that Argo CD syncs."""
JOB_MANIFEST: Final = f"{MANIFESTS}/evalchemy-job.yaml"
CONFIGS: Final = "eval/evalchemy/configs"
"""Folder of this repository whose files say which tasks are asked; the image has a copy of it."""


def config_file(name: str | None) -> str:
    """Return the file of this repository that `evaluation.config` names."""
    return f"{CONFIGS}/{name or 'eval_config'}.json"


def standard(name: str, stack: str) -> dict[str, str]:
    """Return the labels that every object of the stack carries."""
    return {NAME: name, PART_OF: PROJECT, INSTANCE: stack, MANAGED_BY: "pulumi"}


def monitored(name: str, stack: str, release: str, more: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of what the Prometheus Operator reads; Prometheus objects usually select by `release`."""
    return {**more, **standard(name, stack), "release": release}


def of_namespace(stack: str) -> dict[str, str]:
    """Return the labels of the evaluation's namespace.

    Pods that would run as root, write their image or gain privileges are refused there by the API server.
    """
    security = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return {**standard(PROJECT, stack), **security}


def selector(name: str) -> dict[str, str]:
    """Return the labels that select the pods called `name`. The stack is not among them: a selector is immutable."""
    return {NAME: name, PART_OF: PROJECT}
