"""The Grafana dashboard, built with Grafana's own SDK."""

from monitoring.dashboard.board import dashboard_json
from monitoring.dashboard.queries import HEADLINE as HEADLINE_QUERY

__all__ = ["HEADLINE_QUERY", "dashboard_json"]
