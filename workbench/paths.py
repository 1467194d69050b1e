"""Where things are: what of this clone its image is built from, the cache of tools and images, state and logs."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
# What the evaluation image is built from, as Git's commands take it after `--`. Prose is in no image, and a new image
# re-runs every model. The paths of two workflows say the same (tests/unit/ci/test_rules.py compares them).
IMAGE_SOURCES: Final = ("eval", "docker", ":!*.md")


def cache_dir() -> Path:
    """Return the folder that outlives every sandbox: tools, packages, image layers."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("VLLM_EVAL_CACHE") or base / "vllm-eval")


@dataclass(frozen=True)
class Paths:
    """Every path that one clone of the project uses in one cache folder; `name` is unique to both."""

    cache: Path
    name: str

    @classmethod
    def of_this_clone(cls, purpose: str = "") -> "Paths":
        """Return the paths of this clone and its cache, which no other clone uses; tests add a purpose.

        A sandbox's cgroups have this name alone, and the start of a sandbox ends all processes in its cgroups.
        """
        cache = cache_dir()
        digest = hashlib.sha256(f"{REPOSITORY}\0{cache.resolve()}".encode()).hexdigest()[:8]
        return cls(cache=cache, name=f"vllm-eval-{digest}" + (f"-{purpose}" if purpose else ""))

    @property
    def bin(self) -> Path:
        """Links to every tool and Debian program that tests and people call."""
        return self.cache / "bin"

    @property
    def plugins(self) -> Path:
        """Links to Pulumi plugins, for machines without the official ones."""
        return self.cache / "plugins"

    @property
    def state(self) -> Path:
        """All that `make down` removes."""
        return self.cache / "sandboxes" / self.name

    @property
    def logs(self) -> Path:
        """One file for each process, and the tools' build logs."""
        return self.state / "logs"
