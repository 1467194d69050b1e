"""Checks a stack file without Pulumi, and prints as JSON what its stack asks of a cluster.

Called as ``python -m components.settings STACK < Pulumi.STACK.yaml``, before an update.
"""

import json
import math
import sys
from typing import Any, Final

import pulumi

from components import labels, patches
from components.labels import PROJECT
from components.settings import Problem, Settings, SettingsError
from components.settings import file as stack_file
from components.settings.load import parse

# Time until a pod logs its first line: scheduling, volumes, the image pull, the Job controller's back-off.
START_SECONDS: Final = 1200
ESC: Final = "what these Pulumi ESC environments set is not seen here"
# Time until Argo CD has created the Job: its own start and the retries of a sync.
SYNC_SECONDS: Final = 900


def main() -> int:
    """Print the needs; or every problem of the settings on standard error, and return 2."""
    try:
        settings = read(sys.argv[1], sys.stdin.buffer.read())
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(needs(settings)))
    return 0


def read(stack: str, text: str | bytes) -> Settings:
    """Return the settings of a stack file; its secrets stay encrypted.

    Raises
    ------
    SettingsError
    """
    file, problems = stack_file.parse(stack, text)
    config = file["config"]
    secrets = [key for key, each in config.items() if _encrypted(each)]
    texts = stack_file.as_pulumi_gives(config)
    pulumi.runtime.set_all_config(texts, secrets)
    keys = {key.removeprefix(f"{PROJECT}:"): key in secrets for key in texts if key.startswith(f"{PROJECT}:")}
    elsewhere = file.get("environment")
    if elsewhere:
        print(f"note: environment {json.dumps(elsewhere)}: {ESC}", file=sys.stderr)
    try:
        settings = parse(stack, pulumi.Config(PROJECT), keys, sealed=True)
    except SettingsError as error:
        problems += error.problems
    if not problems:
        return settings
    if elsewhere:
        value = json.dumps(elsewhere, default=str)
        problems.append(Problem("environment", value, ESC, "pulumi preview, which sees them"))
    raise SettingsError(stack, problems)


def needs(settings: Settings) -> dict[str, Any]:
    """Return what the cluster must have, and the names of the stack's objects there."""
    stack, evaluation, monitoring = settings.stack, settings.evaluation, settings.monitoring
    classes: dict[str, str | None] = {}
    if evaluation.results.url is None:
        classes["evaluation.results.storage_class"] = evaluation.results.storage_class
    if monitoring.own_gateway:
        classes["monitoring.pushgateway.storage_class"] = monitoring.pushgateway.storage_class
    monitored = {"PrometheusRule": labels.PROJECT} if monitoring.enabled else {}
    monitored |= {"ServiceMonitor": labels.PUSHGATEWAY} if monitoring.own_gateway else {}
    return {
        "namespace": evaluation.namespace,
        "namespace_labels": labels.of_namespace(stack),
        # What a Prometheus must read, by kind.
        "monitored": {
            kind: labels.monitored(name, stack, monitoring.release, monitoring.labels)
            for kind, name in monitored.items()
        },
        # The labels by which the operator's Alertmanager selects the AlertmanagerConfig.
        "receivers": labels.monitored(labels.PROJECT, stack, monitoring.release, monitoring.labels)
        if monitoring.receivers
        else None,
        # The pods that the gateway's NetworkPolicy lets in.
        "scraper": {"namespace": monitoring.prometheus.namespace, "labels": dict(monitoring.prometheus.labels)}
        if monitoring.own_gateway
        else None,
        "serves_reports": evaluation.report.service,
        "told": {each.name: list(each.severities) for each in monitoring.receivers},
        "dashboard": dict(monitoring.dashboard_labels) if monitoring.enabled and monitoring.dashboard else None,
        "storage_classes": classes,
        "owner": evaluation.owner.value,
        "argocd": settings.argocd.namespace,
        "application": settings.argocd.application,
        "hub": settings.argocd.context,
        "installs_argocd": settings.argocd.install,
        "access_modes": {"evaluation.results.storage_class": evaluation.results.access_mode.value}
        if evaluation.results.url is None
        else {},
        "reach": [
            {
                "endpoint": model.endpoint,
                "served_name": model.served_name or model.name,
                "network": {"labels": model.network.labels, "port": model.network.port},
            }
            for model in settings.models
        ],
        "models": [model.name for model in settings.models],
        "config": evaluation.config,
        "results": evaluation.results.url,
        "seconds": patience(settings),
    }


def patience(settings: Settings) -> int:
    """Return the seconds within which the Job has ended even if every pod uses its whole deadline and every retry."""
    evaluation = settings.evaluation
    tries: int = patches.manifest()["spec"]["backoffLimitPerIndex"] + 1
    rounds = math.ceil(len(settings.models) / evaluation.parallelism)
    pod = START_SECONDS + evaluation.deadline_seconds + patches.DEADLINE_MARGIN_SECONDS
    return settings.argocd.reconciliation_seconds + SYNC_SECONDS + rounds * tries * pod


def _encrypted(value: object) -> bool:
    """Return whether Pulumi takes a value for a secret: one encrypted value makes the whole key one."""
    if isinstance(value, dict):
        return (list(value) == ["secure"] and isinstance(value["secure"], str)) or any(map(_encrypted, value.values()))
    return isinstance(value, list) and any(map(_encrypted, value))
