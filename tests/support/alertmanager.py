"""How to run Debian's Alertmanager where its package was only unpacked."""

import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.support.kernel import NO_MOUNTS, can_mount, own_mounts

# Debian's build reads its default templates from here, and nowhere else.
TEMPLATES: Final = Path("/usr/share/prometheus/alertmanager")


def at_home(command: list[str]) -> list[str]:
    """Return `command` so that it finds its templates, also where its package was unpacked and not installed."""
    binary = shutil.which(command[0])
    assert binary, f"{command[0]} is not on the PATH"
    share = Path(binary).resolve().parents[1] / "share"
    if TEMPLATES.exists() or not (share / "prometheus" / "alertmanager").exists():
        return command
    if not can_mount():
        pytest.skip(NO_MOUNTS)
    script = 'mount -t overlay overlay -o "lowerdir=$0:/usr/share" /usr/share && exec "$@"'
    return [*own_mounts(), "sh", "-c", script, str(share), binary, *command[1:]]
