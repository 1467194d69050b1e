"""The generated files of this folder: the rules that promtool reads, and the dashboard that Grafana loads."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from monitoring import dashboard_json, rules_file

ARTEFACTS: Final[Mapping[str, Callable[[], str]]] = {
    "alert-rules.yaml": rules_file,
    "dashboard.json": dashboard_json,
}


def write(folder: Path) -> None:
    """Write every artefact into a folder."""
    for name, make in ARTEFACTS.items():
        (folder / name).write_text(make(), encoding="utf-8")
