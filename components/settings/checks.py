"""Rules between settings. Each is skipped while a group that it needs is wrong itself."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from components.settings import keys
from components.settings.check_models import MODEL_CHECKS, network_address
from components.settings.model import AccessMode, ArgoCD, Cluster, Evaluation, Git, Image, Monitoring, Owner, Resources
from components.settings.problems import Problem, full_key, problem, set_command
from components.settings.quantities import amount, seconds

Found = Iterator[Problem]

LABEL_VALUE: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"


def check_stack_name(stack: str) -> Found:
    """Refuse a stack whose name cannot be a label's value."""
    if not re.fullmatch(LABEL_VALUE, stack):
        fault = "a stack's name becomes a Kubernetes label: 63 characters at most, no dash, dot or underscore at an end"
        yield Problem("stack", stack, fault, "pulumi stack rename NAME")


def check_cluster(cluster: Cluster) -> Found:
    """Refuse a stack that does not say, or says twice, which cluster is meant."""
    if cluster.in_cluster and (cluster.context or cluster.server):
        fault = "the pod's own cluster and a kubeconfig's context exclude each other"
        yield problem(["cluster", "in_cluster"], True, fault, "pulumi config rm --path 'vllm-eval:cluster.in_cluster'")
    if not cluster.in_cluster and not cluster.context:
        fault = "not set, but needed: a stack must not follow kubectl's current context"
        yield Problem("vllm-eval:cluster.context", "", fault, set_command(["cluster", "context"], "NAME"))


def check_git(git: Git, secrets: Mapping[str, str]) -> Found:
    """Refuse credentials in the address, and such as do not fit the address."""
    path, https = ["git", "repository"], git.repository.startswith("http")
    if https and "@" in urlsplit(git.repository).netloc:
        cure = f"take it out and run {set_command([keys.GIT_PASSWORD], '', secret=True)}"
        yield Problem(
            full_key(path), "", "a credential in the address, shown to everybody who reads the Application", cure
        )
    for key, fits in ((keys.GIT_PASSWORD, https), (keys.GIT_SSH_KEY, not https)):
        if key in secrets and not fits:
            fault = f"{key} is set, but such an address does not use it"
            yield problem(path, git.repository, fault, f"pulumi config rm {full_key([key])}, or change the address")


def check_argocd(argocd: ArgoCD, evaluation: Evaluation, secrets: Mapping[str, str]) -> Found:
    """Refuse an evaluation in Argo CD's namespace, settings without effect, and a chart that is not there."""
    if argocd.namespace == evaluation.namespace:
        fault = "is Argo CD's namespace: whoever may write there is administrator of Argo CD"
        path = ["evaluation", "namespace"]
        yield problem(path, evaluation.namespace, fault, set_command(path, "vllm-eval"))
    if keys.ARGOCD_ADMIN_HASH in secrets and not (argocd.admin and argocd.install):
        fault = "has no effect without the user admin or with an Argo CD that others install"
        yield Problem(
            full_key([keys.ARGOCD_ADMIN_HASH]), "", fault, f"pulumi config rm {full_key([keys.ARGOCD_ADMIN_HASH])}"
        )
    if not argocd.install and argocd.values:
        fault = "has no effect with install: false"
        yield problem(["argocd", "values"], argocd.values, fault, "pulumi config rm --path 'vllm-eval:argocd.values'")
    if argocd.install and argocd.chart_is_path and not (Path(argocd.chart) / "Chart.yaml").is_file():
        fault = "no chart there (no Chart.yaml)"
        path = ["argocd", "chart"]
        yield problem(path, argocd.chart, fault, set_command(path, "argo-cd"))


def check_evaluation(evaluation: Evaluation) -> Found:
    """Refuse a claim that the pods cannot share, an unknown time zone and addresses that are none."""
    results = evaluation.results
    if evaluation.parallelism > 1 and results.url is None and results.access_mode is AccessMode.ONE_NODE:
        path: list[str | int] = ["evaluation", "parallelism"]
        fault = "pods of one Job may land on several nodes, but the results claim is ReadWriteOnce"
        cure = (
            set_command(["evaluation", "results", "access_mode"], "ReadWriteMany")
            + ", or evaluation.results.url, or parallelism 1"
        )
        yield problem(path, evaluation.parallelism, fault, cure)
    if results.url and "@" in urlsplit(results.url).netloc:
        cure = "take it out; evaluation.account_annotations gives the pods a cloud identity"
        yield Problem("vllm-eval:evaluation.results.url", "", "a credential in the address", cure)
    zones = available_timezones()
    if zones and evaluation.time_zone not in zones:
        path = ["evaluation", "time_zone"]
        yield problem(path, evaluation.time_zone, "no such time zone", set_command(path, "Europe/Berlin"))
    for index, place in enumerate(evaluation.egress):
        yield from network_address(["evaluation", "egress", index, "cidr"], place.cidr)


def check_resources(evaluation: Evaluation, monitoring: Monitoring) -> Found:
    """Refuse requests above their limits, which the API server would refuse halfway through an update."""
    containers: list[tuple[list[str | int], Resources]] = [
        (["evaluation", "resources"], evaluation.resources),
        (["monitoring", "pushgateway", "resources"], monitoring.pushgateway.resources),
    ]
    for path, resources in containers:
        for name, request in resources.requests.items():
            limit = resources.limits.get(name)
            if limit and amount(request) > amount(limit):
                yield problem(
                    [*path, "requests", name],
                    request,
                    f"above the limit {limit}",
                    set_command([*path, "limits", name], request),
                )


def check_image(image: Image, evaluation: Evaluation) -> Found:
    """Refuse an image that Git decides on, and two ways at once to choose one."""
    if image == Image():
        return
    if evaluation.owner is not Owner.PULUMI:
        owner = evaluation.owner.value
        fault = f"has no effect with evaluation.owner {owner}: CI writes the image into k8s/evalchemy-job.yaml"
        yield problem(["image"], image.model_dump(exclude_defaults=True), fault, "pulumi config rm vllm-eval:image")
    if image.repository is None:
        fault = "not set, but the other image settings need it"
        path = ["image", "repository"]
        yield Problem(full_key(path), "", fault, set_command(path, "ghcr.io/your-org/vllm-eval-evalchemy"))
    ways = [name for name in ("build", "lookup", "digest") if getattr(image, name)]
    if len(ways) > 1:
        fault = "only one of build, lookup and digest can decide which image runs"
        yield problem(["image"], ways, fault, f"pulumi config rm --path 'vllm-eval:image.{ways[0]}'")


def check_monitoring(monitoring: Monitoring) -> Found:
    """Refuse lengths that the alert windows cannot be made from."""
    if not seconds("2m") <= seconds(monitoring.day) <= seconds("24h"):
        path = ["monitoring", "day"]
        yield problem(path, monitoring.day, "must be from 2m to 24h", set_command(path, "24h"))
    if seconds(monitoring.stale) < seconds("6h"):
        path = ["monitoring", "stale"]
        yield problem(path, monitoring.stale, "must be 6h or more: a run may take hours", set_command(path, "36h"))


def check_credentials(texts: Mapping[str, str]) -> Found:
    """Refuse secrets that are visibly not what their key asks for. Their values are never shown."""
    wanted = {
        keys.ARGOCD_ADMIN_HASH: (
            r"\$2[aby]\$\d\d\$.{53}",
            "is no bcrypt hash (htpasswd -nBC 10 '' | tr -d ':\\n' makes one)",
        ),
        keys.REGISTRY_CREDENTIALS: (r'\s*\{.*"auths"\s*:\s*\{.*\}\s*', "is no Docker config JSON with auths"),
        keys.GIT_SSH_KEY: (r".*-----BEGIN .*PRIVATE KEY-----.*", "is no private key in PEM form"),
    }
    for key, text in texts.items():
        pattern, fault = wanted.get(key, (r".*", ""))
        if not text.strip():
            yield Problem(full_key([key]), "", "is empty", set_command([key], "", secret=True))
        elif not re.fullmatch(pattern, text, re.DOTALL):
            yield Problem(full_key([key]), "", fault, set_command([key], "", secret=True))


CHECKS: Final[tuple[Callable[..., Found], ...]] = (
    check_stack_name,
    check_cluster,
    check_git,
    check_argocd,
    check_evaluation,
    check_resources,
    check_image,
    check_monitoring,
    check_credentials,
    *MODEL_CHECKS,
)


def run(known: Mapping[str, Any]) -> list[Problem]:
    """Run every check whose parameters are all in `known`.

    A parameter is the name of a group, or `stack`, `models`, `secrets` or `texts`
    (the secrets again, unless they are still encrypted).
    """
    problems: list[Problem] = []
    for check in CHECKS:
        needed = inspect.signature(check).parameters
        if all(known.get(name) is not None for name in needed):
            problems += check(**{name: known[name] for name in needed})
    return problems
