"""A real Alertmanager: Debian's, also where its package was only unpacked."""

import contextlib
import datetime
import http.client
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.support.kernel import NO_MOUNTS, can_mount, own_mounts
from tests.support.monitoring.prometheus import start
from tests.support.ports import free_port

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


@contextlib.contextmanager
def running_alertmanager(folder: Path, config: str) -> Iterator[str]:
    """Run one with this configuration until the end of the block, and give its address."""
    file = folder / "alertmanager.yaml"
    file.write_text(config, encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus-alertmanager",
        f"--config.file={file}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with start(at_home(command), folder / "alertmanager.log", ready=f"http://{address}/-/ready"):
        yield address


def post(manager: str, *alerts: Mapping[str, str], annotations: Mapping[str, str], ended: bool = False) -> None:
    """Tell it of alerts by their labels: of model m of the stack prod, unless they say otherwise."""
    now = datetime.datetime.now(datetime.UTC)
    hour = datetime.timedelta(hours=1)
    # An alert that began long ago would be sent at once, before the inhibiting one is known.
    times = {"startsAt": now - hour if ended else now, "endsAt": now if ended else now + hour}
    body = [
        {"labels": {"stack": "prod", "namespace": "vllm-eval", "model": "m", **labels}, "annotations": annotations}
        | {name: at.isoformat() for name, at in times.items()}
        for labels in alerts
    ]
    with contextlib.closing(http.client.HTTPConnection(manager, timeout=10)) as connection:
        connection.request("POST", "/api/v2/alerts", json.dumps(body), {"Content-Type": "application/json"})
        assert connection.getresponse().status == 200
