"""The dashboard as Grafana would read it."""

import json
import re
from collections.abc import Iterator
from typing import Any

import monitoring

# What Grafana puts in for the variables, for "all" models and tasks.
VARIABLES = {"$stack": "prod", "$model": ".+", "$task": ".+", "$__interval": "5m"}


def load() -> dict[str, Any]:
    """Return the dashboard."""
    board: dict[str, Any] = json.loads(monitoring.dashboard_json())
    return board


def panels(board: dict[str, Any], *, rows: bool = False) -> Iterator[dict[str, Any]]:
    """Iterate over the panels, and over the rows if asked."""
    for panel in board["panels"]:
        if rows or panel["type"] != "row":
            yield panel
        yield from panel.get("panels", ())


def queries(board: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Iterate over title, expression and "asks for one moment" of every query; annotations included."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["instant"]
    for annotation in board["annotations"]["list"]:
        yield annotation["name"], annotation["expr"], False


def fill(expr: str) -> str:
    """Return `expr` as Grafana sends it."""
    for name, value in VARIABLES.items():
        expr = expr.replace(name, value)
    left = re.findall(r"\$\w+", expr)
    assert not left, f"{expr} has variables that the dashboard lacks: {left}"
    return expr
