"""Install the programs by which a kubeconfig logs in: those that its users name under `exec`.

`aws` (EKS) is installed from Debian. With any other one a job cannot log in, and says what to do instead.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import yaml

INSTALL: Final = {"aws": "awscli"}


def main() -> int:
    """Install what is missing; return 2 with one sentence where that is not possible."""
    file = Path(os.environ.get("KUBECONFIG") or "/nonexistent")
    missing = [
        name for name in wanted(file.read_text(encoding="utf-8") if file.is_file() else "") if not shutil.which(name)
    ]
    if unknown := [name for name in missing if name not in INSTALL]:
        print(
            f"the kubeconfig logs in by {', '.join(unknown)}, which the job's container lacks: give KUBECONFIG_CONTENT"
            " a ServiceAccount's token instead, or run where cluster.in_cluster does (PULUMI_RUNNER; docs/ci.md)",
            file=sys.stderr,
        )
        return 2
    for name in missing:
        for words in (["update", "--quiet"], ["install", "--quiet", "--yes", "--no-install-recommends", INSTALL[name]]):
            subprocess.run(["apt-get", *words], check=True)
    return 0


def wanted(kubeconfig: str) -> Iterable[str]:
    """Return the programs that a kubeconfig's users log in with."""
    users = (yaml.safe_load(kubeconfig) or {}).get("users") or []
    return sorted({(each.get("user") or {}).get("exec", {}).get("command", "") for each in users} - {""})


if __name__ == "__main__":
    sys.exit(main())
