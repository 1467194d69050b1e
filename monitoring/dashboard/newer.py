"""What Grafana's schema has added and dropped since 10.1, whose types the SDK for Python has.

A dashboard with both is read by either Grafana as it is: the older one passes
over what it does not know, the newer one has nothing to fill in. The tests hold
it against the newer schema.
"""

from typing import Any, Final

_LEGEND: Final = {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False}
_ADDED: Final[dict[str, dict[str, Any]]] = {
    "bargauge": {"legend": _LEGEND, "maxVizHeight": 300, "namePlacement": "auto", "sizing": "auto"},
    "stat": {"percentChangeColorMode": "standard", "showPercentChange": False, "wideLayout": True},
}
"""Options of each kind of panel, with the defaults that Grafana gives a panel without them."""


def renew(board: dict[str, Any]) -> None:
    """Bring a dashboard of the SDK to the newer schema, in place."""
    del board["style"]
    for variable in board["templating"]["list"]:
        del variable["id"]
    for panel in board["panels"]:
        if panel["type"] in _ADDED:
            panel["options"] |= _ADDED[panel["type"]]
