"""Links from the dashboard to the reports: a click on a score leads to the answers behind it."""

import json
from typing import Any

from monitoring.names import report_page

_LINK_OF_BOARD = {
    "asDropdown": False, "icon": "doc", "includeVars": False, "keepTime": False, "tags": [], "targetBlank": True,
    "title": "Reports", "tooltip": "The answers behind the scores", "type": "link",
}  # fmt: skip


def with_reports(dashboard: str, address: str) -> str:
    """Return the dashboard's text with links to the reports at ``address``: one of the board, one of each value."""
    board: dict[str, Any] = json.loads(dashboard)
    board["links"].append({**_LINK_OF_BOARD, "url": report_page(address)})
    for panel in board["panels"]:
        if _tells_model(panel):
            model = "${__data.fields.model}" if panel["type"] == "table" else "${__field.labels.model}"
            link = {"title": "Report", "url": report_page(address, "${stack}", model), "targetBlank": True}
            panel["fieldConfig"]["defaults"]["links"] = [link]
    return json.dumps(board, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _tells_model(panel: dict[str, Any]) -> bool:
    """Tell whether each value of a panel is of one model."""
    legends = [target.get("legendFormat", "") for target in panel.get("targets", [])]
    return panel["type"] == "table" or panel["title"] == "$model" or any("{{model}}" in each for each in legends)
