"""What `pulumi stack output` gives: commands and addresses to paste, nothing secret."""

import shlex

import monitoring
from components.settings import Settings

LOCAL_URL = "https://localhost:8080"


def _kubectl(context: str | None) -> str:
    return "kubectl" if context is None else f"kubectl --context {shlex.quote(context)}"


def of(settings: Settings) -> dict[str, str]:
    """Return the stack's outputs.

    Argo CD makes the initial password after the installation; a command that reads
    it keeps it out of the state. It is absent where there is no such password.
    """
    argocd = settings.argocd
    context = settings.cluster.context
    kubectl = _kubectl(argocd.context or context)
    outputs = {
        "argocd_port_forward_command": f"{kubectl} port-forward svc/argocd-server -n {argocd.namespace} 8080:443",
        "application_url": f"{argocd.url or LOCAL_URL}/applications/{argocd.namespace}/{argocd.application}",
        "evaluation_owner": settings.evaluation.owner.value,
    }
    if argocd.install and argocd.admin and settings.secrets.argocd_admin_hash is None:
        outputs["argocd_password_command"] = (
            f"{kubectl} -n {argocd.namespace} get secret argocd-initial-admin-secret"
            " -o jsonpath='{.data.password}' | base64 -d"
        )
    if settings.monitoring.enabled:
        outputs["dashboard_uid"] = monitoring.DASHBOARD_UID
        outputs["headline_query"] = monitoring.HEADLINE_QUERY
    return outputs
