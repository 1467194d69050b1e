"""The dashboard as Grafana would read it."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import monitoring

ALL = ".+"
"""What the dashboard gives for "All" models or tasks."""


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


def fill(
    expr: str, *, stack: str = "prod", models: Sequence[str] = (), tasks: Sequence[str] = (), interval: str = "5m"
) -> str:
    """Return `expr` as Grafana sends it; no models and no tasks are all of them."""
    values = {
        "$stack": json.dumps(stack, ensure_ascii=False)[1:-1],
        "$model": _choice(models),
        "$task": _choice(tasks),
        "$__interval": interval,
    }
    for name, value in values.items():
        expr = expr.replace(name, value)
    left = re.findall(r"\$\w+", expr)
    assert not left, f"{expr} has variables that the dashboard lacks: {left}"
    return expr


def _choice(values: Sequence[str]) -> str:
    # A pattern inside a string of PromQL: what is escaped for the one is escaped again for the other.
    chosen = "|".join(re.sub(r"[\\^$*+?.()|\[\]{}]", r"\\\g<0>", value) for value in values)
    return json.dumps(f"({chosen})" if len(values) > 1 else chosen or ALL, ensure_ascii=False)[1:-1]
