"""Free ports for programs that cannot take port 0 and say which they got, and an address beside loopback."""

import random
import socket
import sys
from typing import Final

# Below those that the kernel gives to outgoing connections, which would come between the choice and its use.
PORTS: Final = range(18_000, 32_768)
_claims: list[socket.socket] = []


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody has, and that no other process asking here gets as long as this one lives."""
    for port in random.sample(PORTS, 1000):
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
                claim(f"port-{port}")
            except OSError:
                continue
        return port
    raise RuntimeError("no port is free")


def claim(name: str) -> None:
    """Have a name among all tests of this machine until this process ends; only Linux has such names, without a file.

    Raises
    ------
    OSError
        When another process has it.
    """
    if sys.platform == "linux":
        holder = socket.socket(socket.AF_UNIX)
        try:
            holder.bind(f"\0vllm-eval-test-{name}")
        except OSError:
            holder.close()
            raise
        _claims.append(holder)


def own_address() -> str:
    """Return an address of this machine that is not loopback, as pods would see it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        return str(probe.getsockname()[0])
