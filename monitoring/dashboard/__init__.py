"""The Grafana dashboard, built with Grafana's own SDK."""

from pathlib import Path
from typing import Final

from monitoring.dashboard.queries import HEADLINE as HEADLINE_QUERY

__all__ = ["HEADLINE_QUERY", "committed_dashboard", "dashboard_json"]

_COMMITTED: Final = Path(__file__).resolve().parents[1] / "dashboard.json"


def dashboard_json() -> str:
    """Return the dashboard as JSON that Grafana's sidecar or its import takes, ending in a newline."""
    # Only here: loading the SDK would be a part of every preview, which needs the committed text alone.
    from monitoring.dashboard import board

    return board.dashboard_json()


def committed_dashboard() -> str:
    """Return the committed text of :func:`dashboard_json`; a test compares them."""
    return _COMMITTED.read_text(encoding="utf-8")
