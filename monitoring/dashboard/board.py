"""The dashboard, from top to bottom: is anything wrong, how good are the models, how did it come about."""

import json
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard, table
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from monitoring.dashboard import panels, queries
from monitoring.dashboard.panels import DATASOURCE, Panel, bars, count, lines, number, query, states, steps
from monitoring.names import DASHBOARD_TITLE, DASHBOARD_UID, RUNBOOK_URL
from monitoring.thresholds import Windows

_SCORE_UNIT: Final = "percentunit"
_TASK: Final = "{{model}} · {{task}}"
_TAGGED: Final = "{{model}} {{model_tag}} · {{task}}"


def dashboard_json() -> str:
    """Return the dashboard as JSON that Grafana's sidecar or its import takes, ending in a newline."""
    board: dict[str, Any] = json.loads(json.dumps(_board().build(), cls=JSONEncoder))
    # The SDK's annotation has no field for the text of a mark.
    for annotation in board["annotations"]["list"]:
        annotation |= {
            "titleFormat": "{{model}}: tag {{model_tag}}",
            "textFormat": "commit {{git_commit}}",
            "step": "60s",
        }
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
    for title, row in (
        ("Is anything wrong?", _alarms()),
        ("Scores", _scores()),
        ("Verdicts and failures", _outcomes()),
        ("Runs", _runs()),
    ):
        board = board.with_row(dashboard.Row(title))
        for panel in row:
            board = board.with_panel(panel)
    history = dashboard.Row("History of $task").repeat("task").collapsed(False)
    return board.with_row(history).with_panel(_history())


def _variable(name: str, values: str, *, several: bool) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(DATASOURCE)
        .query({"query": values, "refId": name})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(several)
        .include_all(several)
    )


def _alarms() -> list[Panel]:
    stale = Windows().stale
    return [
        count(
            "Worse than baseline",
            "Series whose last decisive comparison with the pinned baseline is *worse*.",
            queries.WORSE,
        )
        .span(4)
        .height(4),
        count(
            "Failed tasks",
            "Tasks whose last run did not pass its checks. Their score is the last good one.",
            queries.FAILED,
        )
        .span(4)
        .height(4),
        count(
            "Models without a run", "Models that the settings list and that no run has ever scored.", queries.NEVER_RUN
        )
        .span(4)
        .height(4),
        number(
            "Oldest run",
            "Time since the last run of the model that waits longest.",
            query(queries.OLDEST, instant=True),
            unit="s",
        )
        .thresholds(steps((None, "green"), (stale, "red")))
        .span(4)
        .height(4),
        number(
            "custom_task_1",
            "Exact match of custom_task_1 by tag, over all stacks and models.",
            query(queries.HEADLINE, "{{model_tag}}", instant=True),
            unit=_SCORE_UNIT,
        )
        .span(8)
        .height(4),
    ]


def _scores() -> list[Panel]:
    return [
        _table().span(24).height(8),
        bars(
            "Models compared",
            "Last good score of every model and task.",
            query(queries.SCORE, _TAGGED, instant=True),
            unit=_SCORE_UNIT,
        )
        .min(0)
        .max(1)
        .span(12)
        .height(8),
        bars(
            "Distance to the baseline",
            "Score minus pinned baseline.",
            query(queries.DELTA, _TAGGED, instant=True),
            unit=_SCORE_UNIT,
        )
        .thresholds(steps((None, "red"), (-0.1, "yellow"), (-0.02, "green")))
        .span(12)
        .height(8),
    ]


def _table() -> table.Panel:
    columns = {
        "score": ("Score", queries.SCORE, _SCORE_UNIT),
        "error": ("± 95 %", queries.ERROR, _SCORE_UNIT),
        "baseline": ("Baseline", queries.BASELINE, _SCORE_UNIT),
        "samples": ("Items", queries.SAMPLES, "none"),
        "pvalue": ("p (worse)", queries.PVALUE, "none"),
        "verdict": ("verdict is", queries.VERDICT_NOW, "none"),
    }
    panel = (
        table.Panel()
        .title("Scores now")
        .description("The last good score of every task, with its error bar, baseline and verdict.")
        .datasource(DATASOURCE)
    )
    for ref, (_, expr, _unit) in columns.items():
        panel = panel.with_target(query(expr, ref=ref, instant=True, as_table=True))
    panel = panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={})).with_transformation(
        models.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {"Time": True, "Value #verdict": True},
                "renameByName": {f"Value #{ref}": title for ref, (title, *_) in columns.items()}
                | {"model": "Model", "model_tag": "Tag", "task": "Task", "verdict": "Verdict"},
            },
        )
    )
    for title, _, unit in columns.values():
        panel = panel.override_by_name(title, [models.DynamicConfigValue(id_val="unit", value=unit)])
    mapping = models.ValueMap(options=panels.verdict_names())
    return panel.override_by_name("Verdict", [models.DynamicConfigValue(id_val="mappings", value=[mapping])])


def _history() -> Panel:
    hidden = [models.DynamicConfigValue(id_val="custom.lineWidth", value=0)]
    band = [
        *hidden,
        models.DynamicConfigValue(id_val="custom.fillBelowTo", value="95 % below"),
        models.DynamicConfigValue(id_val="custom.fillOpacity", value=20),
    ]
    dashed = models.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 8]})
    return (
        lines(
            "$model",
            "Score by tag, with its 95 % interval and the pinned baseline. Marks show a new tag or commit.",
            query(queries.SCORE, "{{model_tag}}", ref="A"),
            query(queries.UPPER, "95 % above", ref="B"),
            query(queries.LOWER, "95 % below", ref="C"),
            query(queries.BASELINE_LINE, "baseline", ref="D"),
            unit=_SCORE_UNIT,
        )
        .override_by_name("95 % above", band)
        .override_by_name("95 % below", hidden)
        .override_by_name("baseline", [dashed])
        .repeat("model")
        .repeat_direction("h")
        .span(12)
        .height(9)
    )


def _outcomes() -> list[Panel]:
    return [
        states(
            "Verdicts",
            "The verdict that holds; an inconclusive day leaves the last decisive one.",
            query(queries.VERDICT_CODE, _TASK),
            panels.verdict_codes(),
        )
        .span(12)
        .height(8),
        states(
            "Runs",
            "Whether each task's last run passed its checks.",
            query(queries.SUCCESS, _TASK),
            panels.success_codes(),
        )
        .span(12)
        .height(8),
        lines(
            "Items behind the score",
            "Share of the expected items that stand behind the last good score.",
            query(queries.SAMPLES_SHARE, _TASK),
            unit=_SCORE_UNIT,
        )
        .span(8)
        .height(7),
        lines(
            "Empty and truncated answers",
            "Share of the answers without text, or cut by the token limit. They count as wrong.",
            query(queries.EMPTY_SHARE, f"empty · {_TASK}", ref="A"),
            query(queries.TRUNCATED_SHARE, f"truncated · {_TASK}", ref="B"),
            unit=_SCORE_UNIT,
        )
        .span(8)
        .height(7),
        lines(
            "Other scores",
            "Every other metric that the tasks report.",
            query(queries.OTHER_SCORES, f"{_TASK} · {{{{metric}}}} {{{{filter}}}}"),
            unit="none",
        )
        .span(8)
        .height(7),
    ]


def _runs() -> list[Panel]:
    return [
        lines(
            "Answers per second",
            "Of the last run, from its first to its last request.",
            query(queries.SPEED, "{{model}} {{model_tag}}"),
            unit="reqps",
        )
        .span(8)
        .height(7),
        lines("Duration", "Wall time of the last run.", query(queries.DURATION, "{{model}} {{model_tag}}"), unit="s")
        .span(8)
        .height(7),
        lines(
            "Freshness",
            "Time since the last run, and since the last run with every task good.",
            query(queries.RUN_AGE, "{{model}} run", ref="A"),
            query(queries.SUCCESS_AGE, "{{model}} good run", ref="B"),
            unit="s",
        )
        .span(8)
        .height(7),
        table.Panel()
        .title("Where the scores come from")
        .description("Run, commit, task version and engine behind each score.")
        .datasource(DATASOURCE)
        .with_target(query(queries.ORIGIN, instant=True, as_table=True))
        .with_transformation(
            models.DataTransformerConfig(id_val="organize", options={"excludeByName": {"Time": True, "Value": True}})
        )
        .span(24)
        .height(7),
    ]
