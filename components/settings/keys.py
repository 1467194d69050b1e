"""The keys of the stack file that are secrets; all others are groups (see `model.py`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pulumi

GIT_PASSWORD: Final = "git-password"  # noqa: S105 (a key)
GIT_SSH_KEY: Final = "git-ssh-key"
HUGGINGFACE_TOKEN: Final = "huggingface-token"  # noqa: S105 (a key)
REGISTRY_CREDENTIALS: Final = "registry-credentials"
ARGOCD_ADMIN_HASH: Final = "argocd-admin-hash"

SECRETS: Final = {
    GIT_PASSWORD: "Password or token for a private git repository.",
    GIT_SSH_KEY: "Private SSH key for a private git repository.",
    HUGGINGFACE_TOKEN: "Token for gated data sets and tokenizers.",
    REGISTRY_CREDENTIALS: "Docker config JSON that pulls the evaluation image.",
    ARGOCD_ADMIN_HASH: "bcrypt hash of the password of Argo CD's user admin.",
}
"""Each secret that the stack knows by name, and what it is."""

ENDPOINT_PREFIX: Final = "endpoint-"
"""`endpoint-<name>` becomes the file `<name>` that a model's `api_key` or `ca` names."""


RECEIVER_PREFIX: Final = "receiver-"
"""`receiver-<name>` is the address of the receiver `<name>` of `monitoring.receivers`."""

PREFIXES: Final = {
    ENDPOINT_PREFIX: "API key or CA bundle of an endpoint; a model names it.",
    RECEIVER_PREFIX: "Address of the receiver `<name>` of `monitoring.receivers`.",
}
"""Each kind of secret that the stack knows by its prefix, and what it is."""


def is_secret(key: str) -> bool:
    """Return whether a key must be a secret."""
    return key in SECRETS or key.startswith(tuple(PREFIXES))


@dataclass(frozen=True)
class Secrets:
    """What `pulumi config set --secret` gave; plain text appears nowhere else."""

    endpoint: Mapping[str, pulumi.Output[str]] = field(default_factory=dict)
    receiver: Mapping[str, pulumi.Output[str]] = field(default_factory=dict)
    git_password: pulumi.Output[str] | None = None
    git_ssh_key: pulumi.Output[str] | None = None
    huggingface_token: pulumi.Output[str] | None = None
    registry_credentials: pulumi.Output[str] | None = None
    argocd_admin_hash: pulumi.Output[str] | None = None
