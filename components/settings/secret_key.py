"""A key of a Secret that the stack does not make."""

from pydantic import Field

from components.settings.forms import DnsName, SecretKeyName
from components.settings.group import Group


class SecretKey(Group):
    """A key of a Secret that others keep in the namespace, such as External Secrets or Vault."""

    secret: DnsName = Field(description="Name of the Secret.", examples=["llm-gateway"])
    key: SecretKeyName = Field(description="Its key.", examples=["api-key"])
