"""How panels look: one function a kind of panel, so that all of a kind look alike."""

from typing import Final, TypeAlias

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from vllm_eval.metrics import VERDICTS

DATASOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
Panel: TypeAlias = bargauge.Panel | stat.Panel | statetimeline.Panel | table.Panel | timeseries.Panel

GREEN, YELLOW, RED, BLUE, GREY = "green", "yellow", "red", "blue", "text"
_VERDICT_COLORS: Final = {"better": BLUE, "same": GREEN, "worse": RED, "inconclusive": YELLOW, "no_baseline": GREY}


def query(
    expr: str, legend: str = "", *, ref: str = "A", instant: bool = False, as_table: bool = False
) -> prometheus.Dataquery:
    """Return a query of a panel."""
    target = prometheus.Dataquery().expr(expr).ref_id(ref).legend_format(legend).datasource(DATASOURCE)
    if as_table:
        target = target.format(PromQueryFormat.TABLE)
    return target.instant() if instant else target.range()


def steps(*bounds: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    """Return thresholds: from each value on its colour; the first value is None."""
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=color) for value, color in bounds])
    )


def count(title: str, description: str, expr: str) -> stat.Panel:
    """Return a number that should be zero: green when it is, red otherwise."""
    return number(title, description, query(expr, instant=True), unit="none").thresholds(steps((None, GREEN), (1, RED)))


def number(title: str, description: str, target: prometheus.Dataquery, *, unit: str) -> stat.Panel:
    """Return a big number, one for each series."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .no_value("no data")
        .color_mode(common_models.BigValueColorMode.VALUE)
        .graph_mode(common_models.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .with_target(target)
        .height(4)
    )


def lines(title: str, description: str, *targets: prometheus.Dataquery, unit: str) -> timeseries.Panel:
    """Return lines over time. Scores are steps: each value holds until the next run."""
    panel = (
        timeseries.Panel()
        .height(7)
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .line_interpolation(common_models.LineInterpolation.STEP_AFTER)
        .line_width(2)
        .fill_opacity(0)
        .show_points(common_models.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_models.TooltipDisplayMode.MULTI)
            .sort(common_models.SortOrder.DESCENDING)
        )
    )
    for target in targets:
        panel = panel.with_target(target)
    return panel


def bars(title: str, description: str, target: prometheus.Dataquery, *, unit: str) -> bargauge.Panel:
    """Return one horizontal bar for each series."""
    return (
        bargauge.Panel()
        .height(8)
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .no_value("no data")
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .display_mode(common_models.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .with_target(target)
    )


def states(
    title: str, description: str, target: prometheus.Dataquery, mapping: dict[str, models.ValueMappingResult]
) -> statetimeline.Panel:
    """Return bands over time, coloured by state."""
    return (
        statetimeline.Panel()
        .height(8)
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .no_value("no data")
        .mappings([models.ValueMap(options=mapping)])
        .merge_values(True)
        .show_value(common_models.VisibilityMode.AUTO)
        .fill_opacity(70)
        .line_width(0)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .with_target(target)
    )


def facts(
    title: str, description: str, *targets: prometheus.Dataquery, hidden: list[str], names: dict[str, str]
) -> table.Panel:
    """Return a table: one row for each label set, the values of several queries side by side."""
    panel = table.Panel().title(title).description(description).datasource(DATASOURCE).no_value("no data")
    for target in targets:
        panel = panel.with_target(target)
    organize = {"excludeByName": dict.fromkeys(hidden, True), "renameByName": names}
    return panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={})).with_transformation(
        models.DataTransformerConfig(id_val="organize", options=organize)
    )


def verdict_codes() -> dict[str, models.ValueMappingResult]:
    """Return text and colour for the numbers of `queries.VERDICT_CODE`."""
    known = {str(code): _result(name, _VERDICT_COLORS[name], code) for code, name in enumerate(VERDICTS, 1)}
    return {"0": _result("none", GREY, 0), **known}


def success_codes() -> dict[str, models.ValueMappingResult]:
    """Return text and colour for a task's outcome."""
    return {"0": _result("failed", RED, 0), "1": _result("passed", GREEN, 1)}


def alert_codes() -> dict[str, models.ValueMappingResult]:
    """Return text and colour for `queries.ALERTS`, which is 1 or nothing."""
    return {"1": _result("fires", RED, 0)}


def verdict_names() -> dict[str, models.ValueMappingResult]:
    """Return the colours of verdicts that are shown as text."""
    return {name: _result(name, _VERDICT_COLORS[name], index) for index, name in enumerate(VERDICTS)}


def _result(text: str, color: str, index: int) -> models.ValueMappingResult:
    return models.ValueMappingResult(text=text, color=color, index=index)
