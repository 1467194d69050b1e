"""The group `evaluation.data`: where the items of lm_eval's own tasks come from."""

from typing import Final

from pydantic import Field

from components.settings.forms import BundleImage, DnsName, StoreUrl, Url
from components.settings.group import Group
from components.settings.monitored import Network
from components.settings.secret_key import SecretKey

HUB: Final = "https://huggingface.co"


class Hub(Group):
    """A Hugging Face hub that pods may ask for items; without it they ask none."""

    endpoint: Url = Field(HUB, description="Its address, or a mirror's (`HF_ENDPOINT`).")
    network: Network = Field(
        description="How it is reached; the hub's files are at many addresses.",
        examples=[{"cidr": "0.0.0.0/0", "port": 443}],
    )
    ca: SecretKey | None = Field(
        None,
        description="CA bundle of a mirror, in a Secret of others.",
        examples=[{"secret": "mirror", "key": "ca.crt"}],
    )


class BundleSource(Group):
    """What `vllm-eval bundle` made, at exactly one of three places."""

    claim: DnsName | None = Field(None, description="Claim in the namespace that holds it.", examples=["benchmarks"])
    image: BundleImage | None = Field(
        None,
        description="Image that is mounted as a volume (Kubernetes 1.35, or its feature gate ImageVolume).",
        examples=["registry.example.com/benchmarks:v1"],
    )
    url: StoreUrl | None = Field(
        None, description="fsspec or oci:// address that the runner reads.", examples=["s3://evaluations/benchmarks"]
    )
    network: Network | None = Field(
        None, description="How `url` is reached.", examples=[{"cidr": "10.0.0.9/32", "port": 443}]
    )


class Data(Group):
    """Where items come from that no file of the image holds: a hub or a bundle."""

    hub: Hub | None = Field(None, description="Fetch them from a hub, at the newest commit or the one that is set.")
    bundle: BundleSource | None = Field(None, description="Read them from a bundle, without a hub.")
    cache: DnsName | None = Field(
        None, description="Claim in the namespace that keeps what the hub gave.", examples=["hub-cache"]
    )

    @property
    def networks(self) -> list[Network]:
        """What the pods must reach for it."""
        named = (self.hub.network if self.hub is not None else None, self.bundle.network if self.bundle else None)
        return [network for network in named if network is not None]

    @property
    def claims(self) -> list[str]:
        """Names of the claims that others make."""
        named = (self.bundle.claim if self.bundle is not None else None, self.cache)
        return [name for name in named if name is not None]
