"""Addresses inside the sandbox's own network namespace."""

from typing import Final

NODE_ADDRESS: Final = "10.244.0.1"  # the pods' gateway, which the host processes listen on too
POD_SUBNET: Final = "10.244.0.0/24"
SERVICE_SUBNET: Final = "10.96.0.0/16"
REGISTRY: Final = f"{NODE_ADDRESS}:5000"
GIT_PORT: Final = 3000
UPLINK_DNS: Final = "10.0.2.3"  # slirp4netns' forwarder
