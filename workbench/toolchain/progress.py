"""How far a build of several tools is."""

import time
from collections.abc import Iterable
from typing import Final

# Shares of a build from nothing, in percent: the longest come first, and the time left is told by them.
SHARES: Final = {
    "argocd": 20,
    "kubernetes": 16,
    "pulumi-resource-kubernetes": 13,
    "pulumi": 12,
    "prometheus": 7,
    "prometheus-operator": 7,
    "buildkit": 5,
    "coredns": 5,
    "helm": 6,
    "kube-router": 4,
}


class BuildProgress:
    """How far a build of several tools is, by the shares that each of them usually has."""

    def __init__(self, names: Iterable[str]) -> None:
        self._left = {name: SHARES.get(name, 1) for name in names}
        self._whole = sum(self._left.values())
        self._began = time.monotonic()

    def built(self, name: str) -> str:
        """Count a tool as built; return what is left as the end of a line, nothing after the last."""
        self._left.pop(name, None)
        left = sum(self._left.values())
        done = self._whole - left
        if not left or not done:
            return ""
        minutes = (time.monotonic() - self._began) * left / done / 60
        return f"; {len(self._left)} tools left, some {minutes:.0f} min" if minutes >= 1 else ""
