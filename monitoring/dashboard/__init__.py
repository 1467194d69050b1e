"""The Grafana dashboard, built with Grafana's own SDK."""

from pathlib import Path
from typing import Final

from monitoring.dashboard.queries import HEADLINE as HEADLINE_QUERY
from monitoring.dashboard.reports import with_reports

__all__ = ["HEADLINE_QUERY", "committed_dashboard", "dashboard_json"]

_COMMITTED: Final = Path(__file__).resolve().parents[1] / "dashboard.json"


def dashboard_json() -> str:
    """Return the dashboard as JSON that Grafana's sidecar or its import takes, ending in a newline."""
    # Only here: loading the SDK would be a part of every preview, which needs the committed text alone.
    from monitoring.dashboard import board

    return board.dashboard_json()


def committed_dashboard(report_url: str | None = None) -> str:
    """Return the committed text of :func:`dashboard_json`, with links to the reports if there is an address."""
    text = _COMMITTED.read_text(encoding="utf-8")
    return text if report_url is None else with_reports(text, report_url)
