"""Declares the stack: wires the components together."""

import pulumi

from components import announce, cluster, image, outputs, patches
from components.alerts import Alerts
from components.argocd import ArgoCD
from components.dashboard import Dashboard
from components.evaluation import Evaluation
from components.gitops import GitOps
from components.job import Job
from components.pushgateway import Pushgateway
from components.receivers import Receivers
from components.reports import Reports
from components.settings import Settings
from components.settings.check_tasks import config_file
from components.settings.model import Owner

__all__ = ["declare"]


def declare(settings: Settings) -> None:
    """Declare every object of the stack, in the order in which they need each other."""
    stack, owner, secrets = settings.stack, settings.evaluation.owner, settings.secrets
    opts = pulumi.ResourceOptions(provider=cluster.provider(settings.cluster, stack))
    wanted = patches.of(settings)
    announced = announce.Announcements(config_file(settings.evaluation.config))
    hub = cluster.provider(cluster.hub(settings), stack, "hub") if settings.argocd.context else None

    evaluation = Evaluation(
        "evaluation",
        settings=settings.evaluation,
        monitoring=settings.monitoring,
        models=settings.models,
        secrets=secrets,
        stack=stack,
        opts=opts,
    )
    ready = list(evaluation.ready)
    namespace = evaluation.namespace.metadata.name

    # Declared once: it may be a build.
    pod_image = image.reference(settings.image)
    if settings.evaluation.report.service:
        Reports("reports", settings=settings.evaluation, image=pod_image, stack=stack, namespace=namespace, opts=opts)

    if settings.monitoring.enabled:
        if settings.monitoring.own_gateway:
            gateway = Pushgateway(
                "pushgateway", settings=settings.monitoring, stack=stack, namespace=namespace, opts=opts
            )
            ready += gateway.ready
        Alerts(
            "alerts",
            settings=settings.monitoring,
            models=settings.models,
            language=settings.evaluation.language,
            stack=stack,
            namespace=namespace,
            opts=opts,
        )
        if settings.monitoring.receivers:
            Receivers(
                "receivers",
                settings=settings.monitoring,
                addresses=secrets.receiver,
                stack=stack,
                namespace=namespace,
                opts=opts,
            )
        if settings.monitoring.dashboard:
            Dashboard("dashboard", settings=settings.monitoring, stack=stack, namespace=namespace, opts=opts)

    if settings.argocd.install:
        argocd = ArgoCD(
            "argocd", settings=settings.argocd, stack=stack, admin_hash=secrets.argocd_admin_hash, opts=opts
        )
        ready.append(argocd.release)

    gitops = GitOps(
        "gitops",
        git=settings.git,
        argocd=settings.argocd,
        stack=stack,
        namespace=settings.evaluation.namespace,
        stack_patches=wanted if owner is Owner.ARGOCD else (*wanted, patches.not_emitted()),
        password=secrets.git_password,
        ssh_key=secrets.git_ssh_key,
        annotations={announce.OWNER: owner.value},
        hooks=announced.application(),
        ready=ready,
        opts=opts if hub is None else pulumi.ResourceOptions(provider=hub),
    )

    if owner is Owner.PULUMI:
        Job(
            "job",
            stack_patches=wanted,
            namespace=settings.evaluation.namespace,
            stack=stack,
            image=pod_image,
            hooks=announced.job(),
            ready=[*ready, gitops.application],
            opts=opts,
        )

    for name, value in outputs.of(settings).items():
        pulumi.export(name, value)
