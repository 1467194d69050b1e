"""Rules that concern several settings. A rule is skipped while a group that it needs is invalid."""

import contextlib
import difflib
import functools
import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from components import labels, patches
from components.settings import keys
from components.settings.check_data import DATA_CHECKS
from components.settings.check_models import MODEL_CHECKS, check_network, port_of
from components.settings.check_pod import POD_CHECKS
from components.settings.check_receivers import RECEIVER_CHECKS
from components.settings.check_report import check_report
from components.settings.check_tasks import TASK_CHECKS
from components.settings.cron import longest_gap, time_zones, zone_meant
from components.settings.group import Group, Resources, UnknownValueError, each_alone
from components.settings.meant import schedule_cure
from components.settings.model import AccessMode, ArgoCDSettings, Cluster, EvaluationSettings, Git, Image, Owner
from components.settings.monitored import Monitoring
from components.settings.problems import HIDDEN, Problem, full_key, is_credential, problem, rm_command, set_command
from components.settings.quantities import amount, seconds
from monitoring.thresholds import DAY, SHORTEST_DAY, SHORTEST_STALE, STALE

Found = Iterator[Problem]
Key = list[str | int]

# Without a schedule, a week without a run is worth an alert; a shorter time may just have no push.
NO_SCHEDULE_SECONDS: Final = 7 * 86400

# The resources of a container whose names have no domain.
RESOURCES: Final = ("cpu", "memory", "ephemeral-storage")
MOST_CPUS: Final = 256
SMALLEST_SIZE: Final = 2**20

LABEL_VALUE: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"


def check_stack_name(stack: str) -> Found:
    """Refuse a stack whose name cannot be a label's value."""
    if not re.fullmatch(LABEL_VALUE, stack):
        fault = "a stack's name becomes a Kubernetes label: 63 characters at most, no dash, dot or underscore at an end"
        yield Problem("stack", stack, fault, "pulumi stack rename NAME")


def check_cluster(cluster: Cluster) -> Found:
    """Refuse a stack that names no cluster, or names one in two ways."""
    if cluster.in_cluster and (cluster.context or cluster.server):
        fault = "the pod's own cluster and a kubeconfig's context exclude each other"
        yield problem(["cluster", "in_cluster"], True, fault, rm_command(["cluster", "in_cluster"]))
    if not cluster.in_cluster and not cluster.context:
        fault = "not set, but needed: a stack must not follow kubectl's current context"
        yield Problem("vllm-eval:cluster.context", "", fault, set_command(["cluster", "context"], "NAME"))


def check_git(git: Git, secrets: Mapping[str, str]) -> Found:
    """Refuse credentials in the address, and credentials of a kind that the address does not use."""
    path, https = ["git", "repository"], git.repository.startswith("http")
    if https and "@" in urlsplit(git.repository).netloc:
        given, _, _ = urlsplit(git.repository).netloc.rpartition("@")
        user, colon, _ = given.partition(":")
        steps = [set_command(path, git.repository.replace(f"{given}@", "", 1))]
        steps += [set_command(["git", "username"], user)] if colon and user and not is_credential(user) else []
        steps.append(set_command([keys.GIT_PASSWORD], "", secret=True))
        fault = "a credential in the address, shown to everybody who reads the Application"
        yield Problem(full_key(path), "", fault, ", then ".join(steps))
    for key, fits in ((keys.GIT_PASSWORD, https), (keys.GIT_SSH_KEY, not https)):
        if key in secrets and not fits:
            fault = f"{key} is set, but such an address does not use it"
            yield problem(path, git.repository, fault, f"pulumi config rm {full_key([key])}, or change the address")


def check_argocd(argocd: ArgoCDSettings, evaluation: EvaluationSettings, secrets: Mapping[str, str]) -> Found:
    """Refuse an evaluation in Argo CD's namespace, settings without effect, and a chart that is not there."""
    if argocd.namespace == evaluation.namespace:
        fault = "is Argo CD's namespace: everybody who may write there can control Argo CD"
        path = ["evaluation", "namespace"]
        yield problem(path, evaluation.namespace, fault, set_command(path, labels.NAMESPACE))
    if keys.ARGOCD_ADMIN_HASH in secrets and not (argocd.admin and argocd.install):
        fault = "has no effect without the user admin or with an Argo CD that others install"
        yield Problem(
            full_key([keys.ARGOCD_ADMIN_HASH]), "", fault, f"pulumi config rm {full_key([keys.ARGOCD_ADMIN_HASH])}"
        )
    if not argocd.install and argocd.values:
        fault = "has no effect with install: false"
        yield problem(["argocd", "values"], argocd.values, fault, rm_command(["argocd", "values"]))
    if argocd.install and argocd.chart_is_path and not (Path(argocd.chart) / "Chart.yaml").is_file():
        fault = "no chart there (no Chart.yaml)"
        path = ["argocd", "chart"]
        yield problem(path, argocd.chart, fault, set_command(path, "argo-cd"))


def check_values(argocd: ArgoCDSettings) -> Found:
    """Refuse credentials in the chart's values, which are shown."""
    for place in _credentials(argocd.values, ["argocd", "values"]):
        fault = "a credential in plain text, in the stack file and in the release; replace it, since Git may hold it"
        yield Problem(full_key(place), HIDDEN, fault, f"{rm_command(place)}, and let the chart name a Secret of others")


def _credentials(values: object, path: Key) -> Iterator[Key]:
    """Yield the places of credentials in a chart's values; `$secret:key` refers to one."""
    for key, each in values.items() if isinstance(values, dict) else ():
        refers = isinstance(each, str) and re.match(r"\$[a-z]", each)
        if (
            isinstance(each, str)
            and each
            and not refers
            and re.search(r"(?i)(password|token|(secret|private)key)$", key)
        ):
            yield [*path, key]
        yield from _credentials(each, [*path, key])


def check_hub(argocd: ArgoCDSettings, cluster: Cluster) -> Found:
    """Refuse a hub that would be installed, that would sync into itself, or that a pod cannot reach."""
    hub: list[str | int] = ["argocd", "context"]
    if argocd.context is not None and argocd.install:
        fault = "another cluster's Argo CD is not this stack's to install"
        yield problem(hub, argocd.context, fault, set_command(["argocd", "install"], value=False))
    local = argocd.destination == ArgoCDSettings().destination
    if argocd.context is not None and local:
        fault = "a hub would sync into its own cluster: argocd.destination does not say which one is meant"
        yield problem(
            hub, argocd.context, fault, set_command(["argocd", "destination"], "https://k8s.example.com:6443")
        )
    if argocd.context is not None and cluster.in_cluster:
        fault = "a pod's own account leads to one cluster only"
        yield problem(hub, argocd.context, fault, rm_command(["cluster", "in_cluster"]))


def check_claim(evaluation: EvaluationSettings) -> Found:
    """Refuse a claim that the pods cannot share."""
    results = evaluation.results
    if evaluation.parallelism > 1 and results.url is None and results.access_mode is AccessMode.ONE_NODE:
        path: list[str | int] = ["evaluation", "parallelism"]
        fault = "pods of one Job may land on several nodes, but the results claim is ReadWriteOnce"
        cure = (
            set_command(["evaluation", "results", "access_mode"], "ReadWriteMany")
            + ", or evaluation.results.url, or parallelism 1"
        )
        yield problem(path, evaluation.parallelism, fault, cure)


def check_results_url(evaluation: EvaluationSettings) -> Found:
    """Refuse an address of results that holds a credential, stands beside settings of a claim, or cannot be reached."""
    path: list[str | int] = ["evaluation", "results", "url"]
    results = evaluation.results
    if results.url is None:
        return
    if "@" in urlsplit(results.url).netloc:
        cure = "take it out; evaluation.account_annotations gives the pods a cloud identity"
        yield Problem(full_key(path), "", "a credential in the address", cure)
    for name in ("size", "storage_class", "access_mode"):
        if name in results.model_fields_set and vars(results).get(name) is not None:
            fault = "configures a claim, which results.url replaces"
            yield problem([*path[:-1], name], getattr(results, name), fault, rm_command([*path[:-1], name]))
    if results.url.startswith(("http:", "https:")):
        fault = "is read-only for fsspec; a bucket has an address of its own"
        yield problem(path, results.url, fault, set_command(path, _bucket(results.url)))
    elif not results.url.startswith(("file:", "local:")):
        port, opened = _store_port(results.url, evaluation), {each.port for each in evaluation.egress}
        if not opened or (port and port not in opened):
            fault = f"the pods may not reach it: evaluation.egress does not open port {port or 443}"
            cure = f"add {{cidr: 0.0.0.0/0, port: {port or 443}}} to the list evaluation.egress in the stack file"
            yield problem(path, results.url, fault, cure)


def _store_port(address: str, evaluation: EvaluationSettings) -> int | None:
    """Return the port of a bucket; None behind a proxy, or if the settings do not say it."""
    variables = {each["name"]: each.get("value") for each in patches.container()["env"]}
    variables |= {each.name: each.value for each in evaluation.pod.env}
    if any(name.lower().endswith("_proxy") for name in variables):
        return None
    # A variable names the address of a store that is not a cloud provider's.
    store = next((value for name, value in variables.items() if name.startswith("AWS_ENDPOINT_URL")), "https:")
    return urlsplit(address).port or (port_of(store) if store else None)


def _bucket(address: str) -> str:
    """Return the fsspec address of a bucket whose address in a browser is given."""
    url = urlsplit(address)
    bucket, _, _ = (url.hostname or "").partition(".s3")
    inner = url.path.strip("/") if bucket == url.hostname or not bucket else f"{bucket}{url.path}"
    return f"{'gs' if 'googleapis' in url.netloc else 's3'}://{inner or 'evaluations/prod'}"


def check_time_zone(evaluation: EvaluationSettings) -> Found:
    """Refuse an unknown time zone."""
    zones = time_zones()
    if zones and evaluation.time_zone not in zones:
        path: list[str | int] = ["evaluation", "time_zone"]
        found = zone_meant(evaluation.time_zone)
        cure = set_command(path, found or "Etc/UTC") + ("" if found else ", or a name such as Asia/Seoul")
        yield problem(path, evaluation.time_zone, "no such time zone", cure)


def check_egress(evaluation: EvaluationSettings) -> Found:
    """Refuse egress without a destination, or to an invalid network."""
    yield from each_alone(
        check_network(["evaluation", "egress", index], place) for index, place in enumerate(evaluation.egress)
    )


def check_schedule(evaluation: EvaluationSettings) -> Found:
    """Refuse a schedule that the API server would refuse, halfway through a sync."""
    path: list[str | int] = ["evaluation", "schedule"]
    if evaluation.schedule is not None:
        try:
            longest_gap(evaluation.schedule)
        except ValueError as error:
            cure = schedule_cure(path, evaluation.schedule)
            yield problem(path, evaluation.schedule, f"is no schedule: {error}", cure)


def check_stale(evaluation: EvaluationSettings, monitoring: Monitoring) -> Found:
    """Refuse a `stale` that is shorter than a pause between two runs: each such pause would raise the alert."""
    path: list[str | int] = ["monitoring", "stale"]
    stale = seconds(monitoring.stale)
    if not monitoring.enabled or stale < seconds(SHORTEST_STALE):
        return
    if evaluation.schedule is None:
        if stale < NO_SCHEDULE_SECONDS:
            fault = "evaluation.schedule is null, so only pushes start runs: days without a push would raise an alert"
            yield problem(path, monitoring.stale, fault, set_command(path, "30d"))
        return
    try:
        gap = longest_gap(evaluation.schedule).total_seconds()
    except ValueError:
        return
    if stale <= gap:
        hours = round(gap / 3600)
        fault = f"evaluation.schedule leaves {hours} hours between two runs, so each would be reported as missed"
        yield problem(path, monitoring.stale, fault, set_command(path, f"{math.ceil(1.5 * gap / 3600)}h"))


def check_resources(evaluation: EvaluationSettings, monitoring: Monitoring) -> Found:
    """Refuse what the API server would refuse halfway through an update, and amounts with a mistaken unit."""
    groups = {"evaluation": evaluation, "monitoring": monitoring}
    own, ours = Resources(**patches.container()["resources"]), Resources()
    yield from each_alone(
        (
            _resources(["evaluation", "resources"], groups, own),
            _resources(["evaluation", "report", "resources"], groups, ours),
            _resources(["monitoring", "pushgateway", "resources"], groups, ours),
            _size(["evaluation", "results", "size"], groups),
            _size(["monitoring", "pushgateway", "size"], groups),
        )
    )


def _given(path: Key, groups: Mapping[str, Group]) -> Any:  # noqa: ANN401 (of any field)
    return functools.reduce(getattr, map(str, path[1:]), groups[str(path[0])])


def _resources(path: Key, groups: Mapping[str, Group], own: Resources) -> Found:
    """Compare requests with limits, both laid over the container's own."""
    given: Resources = _given(path, groups)
    yield from each_alone(_amounts([*path, kind], getattr(given, kind)) for kind in ("requests", "limits"))
    whole = given.over(own)
    for name, request in whole.requests.items():
        limit = whole.limits.get(name)
        if "/" in name and limit != request:
            fault = "for devices, the API server requires the same number in requests and limits"
            yield problem([*path, "requests", name], request, fault, set_command([*path, "limits", name], request))
        elif limit and amount(request) > amount(limit) and name in given.requests:
            fault, cure = f"above the limit {limit}", set_command([*path, "limits", name], request)
            yield problem([*path, "requests", name], request, fault, cure)
        elif limit and amount(request) > amount(limit) and (name == "cpu" or amount(limit) >= SMALLEST_SIZE):
            fault, cure = f"below the container's request {request}", set_command([*path, "requests", name], limit)
            yield problem([*path, "limits", name], limit, fault, cure)


def _amounts(path: Key, amounts: Mapping[str, str]) -> Found:
    """Refuse unknown resources, and amounts that no node has or that are too small for any program."""
    for name, quantity in amounts.items():
        where = [*path, name]
        if "/" not in name and name not in RESOURCES and not name.startswith("hugepages-"):
            close = difflib.get_close_matches(name.lower(), RESOURCES, n=1, cutoff=0.4)
            fault = f"is no resource: known are {', '.join(RESOURCES)}, and names with a domain"
            yield problem(where, quantity, fault, f"rename it to {(close or RESOURCES)[0]} in the stack file")
        elif name == "cpu" and amount(quantity) > MOST_CPUS:
            yield problem(where, quantity, "more processors than a node has", set_command(where, f"{quantity}m"))
        elif name in RESOURCES[1:]:
            yield from _bytes(where, quantity)


def _size(path: Key, groups: Mapping[str, Group]) -> Found:
    yield from _bytes(path, _given(path, groups))


def _bytes(path: Key, quantity: str) -> Found:
    """Refuse amounts of bytes with a mistaken unit: 512m is half a byte."""
    if amount(quantity) < SMALLEST_SIZE:
        number = quantity.rstrip("m")
        meant = f"{number}{'Gi' if number == quantity else 'Mi'}" if amount(quantity) else "1Gi"
        yield problem(path, quantity, "less than a megabyte; without a unit it is bytes", set_command(path, meant))


def check_image(image: Image, evaluation: EvaluationSettings) -> Found:
    """Refuse an image where Git decides which one runs, and two ways at once to choose it."""
    if image == Image():
        return
    if evaluation.owner is not Owner.PULUMI:
        owner = evaluation.owner.value
        fault = f"has no effect with evaluation.owner {owner}: CI writes the image into {labels.JOB_MANIFEST}"
        yield problem(["image"], image.model_dump(exclude_defaults=True), fault, "pulumi config rm vllm-eval:image")
    if image.repository is None:
        fault = "not set, but the other image settings need it"
        path = ["image", "repository"]
        yield Problem(full_key(path), "", fault, set_command(path, "ghcr.io/your-org/vllm-eval-evalchemy"))
    ways = [name for name in ("build", "lookup", "digest") if getattr(image, name)]
    if len(ways) > 1:
        fault = "only one of build, lookup and digest can decide which image runs"
        yield problem(["image"], ways, fault, rm_command(["image", ways[0]]))


def check_monitoring(monitoring: Monitoring) -> Found:
    """Refuse durations from which the alerts' windows cannot be computed."""
    if not seconds(SHORTEST_DAY) <= seconds(monitoring.day) <= seconds(DAY):
        path = ["monitoring", "day"]
        yield problem(path, monitoring.day, f"must be from {SHORTEST_DAY} to {DAY}", set_command(path, DAY))
    if seconds(monitoring.stale) < seconds(SHORTEST_STALE):
        path = ["monitoring", "stale"]
        fault = f"must be {SHORTEST_STALE} or more: a run may take hours"
        yield problem(path, monitoring.stale, fault, set_command(path, STALE))


def check_credentials(texts: Mapping[str, str]) -> Found:
    """Refuse secrets whose form does not fit their key. Their values are never shown."""
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
    check_values,
    check_hub,
    check_claim,
    check_report,
    check_results_url,
    check_time_zone,
    check_egress,
    check_schedule,
    check_stale,
    check_resources,
    check_image,
    check_monitoring,
    check_credentials,
    *POD_CHECKS,
    *DATA_CHECKS,
    *RECEIVER_CHECKS,
    *MODEL_CHECKS,
    *TASK_CHECKS,
)


def run(known: Mapping[str, Any]) -> list[Problem]:
    """Run every check whose parameters are all in `known`.

    A parameter is the name of a group, or `stack`, `models`, `secrets` or `texts`
    (the secrets again, unless they are still encrypted). A check with the parameter
    `model` runs once for each model, with its `index`. A check ends where it reads an
    invalid value, which is another problem.
    """
    problems: list[Problem] = []
    for check in CHECKS:
        needed = inspect.signature(check).parameters
        each = known.get("models") or () if "model" in needed else (None,)
        for index, model in enumerate(each):
            given = {**known, "index": index, "model": model} if "model" in needed else known
            if all(given.get(name) is not None for name in needed):
                with contextlib.suppress(UnknownValueError):
                    problems.extend(check(**{name: given[name] for name in needed}))
    return problems
