"""The dashboard, from top to bottom: is anything wrong, how good are the models, how did it come about."""

import itertools
import json
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from monitoring.dashboard import queries, rows
from monitoring.dashboard.newer import renew
from monitoring.dashboard.panels import DATASOURCE
from monitoring.names import DASHBOARD_TITLE, DASHBOARD_UID, RUNBOOK_URL

_MARK: Final = {"titleFormat": "{{model}}: tag {{model_tag}}", "textFormat": "commit {{git_commit}}", "step": "60s"}
_ALL: Final = models.VariableOption(selected=True, text="All", value="$__all")


def dashboard_json() -> str:
    """Return the dashboard as JSON that Grafana's sidecar or its import takes, ending in a newline."""
    board: dict[str, Any] = json.loads(json.dumps(_board().build(), cls=JSONEncoder))
    # The SDK's annotation has no field for the text of a mark.
    for annotation in board["annotations"]["list"]:
        annotation.update(_MARK)
    renew(board)
    return json.dumps(board, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _board() -> dashboard.Dashboard:
    board = (
        dashboard.Dashboard(DASHBOARD_TITLE)
        .uid(DASHBOARD_UID)
        .description("Scores of the models that vLLM serves, with error bars, their history and the runs behind them.")
        .tags(["vllm-eval"])
        .editable()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time("now-30d", "now")
        .refresh("5m")
        .timezone("browser")
        .link(
            dashboard.DashboardLink("Runbook")
            .type(models.DashboardLinkType.LINK)
            .url(RUNBOOK_URL)
            .icon("doc")
            .target_blank(True)
            .tooltip("What each alert means and what to do")
        )
        .annotation(
            dashboard.AnnotationQuery()
            .name("New tag or commit")
            .datasource(DATASOURCE)
            .enable(True)
            .icon_color("purple")
            .expr(queries.CHANGES)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for name, values in queries.VARIABLES.items():
        board = board.with_variable(_variable(name, values, several=name != "stack"))
    row_of = {
        "Is anything wrong?": rows.alarms(),
        "Scores": rows.scores(),
        "History of $task": [rows.history()],
        "Verdicts and failures": rows.outcomes(),
        "Runs": rows.runs(),
    }
    number = itertools.count(1)
    for title, panels in row_of.items():
        row = dashboard.Row(title).id(next(number)).collapsed(False)
        board = board.with_row(row.repeat("task") if "$task" in title else row)
        for panel in panels:
            board = board.with_panel(panel.id(next(number)))
    return board


def _variable(name: str, values: str, *, several: bool) -> dashboard.QueryVariable:
    variable = (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(DATASOURCE)
        .query({"query": values, "refId": name})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(several)
        .include_all(several)
    )
    return variable.current(_ALL).all_value(".+") if several else variable
