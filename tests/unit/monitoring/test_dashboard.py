"""The dashboard's build: what Grafana demands, and what a linter would say."""

import itertools
import re
from typing import Any

import pytest

import monitoring
from tests.support.monitoring import board as reading
from vllm_eval import metrics

BOARD = reading.load()
PANELS = list(reading.panels(BOARD))
QUERIES = list(reading.queries(BOARD))
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def test_names_that_people_bookmark() -> None:
    assert (BOARD["uid"], BOARD["title"]) == ("vllm-eval", "vLLM evaluation")


def test_the_headline_is_the_query_that_people_know() -> None:
    assert monitoring.HEADLINE_QUERY == "avg(vllm_eval_exact_match{task='custom_task_1'}) by (model_tag)"
    assert ("custom_task_1", monitoring.HEADLINE_QUERY, True) in QUERIES


def test_grafana_10_and_later_load_it_without_migrating_it() -> None:
    assert BOARD["schemaVersion"] >= 36
    assert BOARD.get("id") is None


def test_fits_a_config_map() -> None:
    assert len(monitoring.dashboard_json().encode()) < 2**20 // 4


def test_ids_are_unique_and_stable() -> None:
    ids = [panel["id"] for panel in reading.panels(BOARD, rows=True)]
    assert ids == list(range(1, len(ids) + 1))


def test_no_two_panels_share_a_title() -> None:
    titles = [panel["title"] for panel in PANELS]
    assert len(set(titles)) == len(titles)


def test_panels_lie_beside_each_other() -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in reading.panels(BOARD, rows=True)]
    for title, place in places:
        assert place["x"] + place["w"] <= 24, f"{title} leaves the grid"
    for (one, a), (other, b) in itertools.combinations(places, 2):
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart, f"{one} lies over {other}"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_lint_panel(panel: dict[str, Any]) -> None:
    datasources = [each["datasource"] for each in (panel, *panel["targets"])]
    assert all(each == DATASOURCE for each in datasources), "the data source is a variable"
    assert panel["description"].endswith((".", "*.")), "a description is a sentence"
    refs = [target["refId"] for target in panel["targets"]]
    assert len(set(refs)) == len(refs)
    if panel["type"] in {"stat", "bargauge", "timeseries"}:
        assert panel["fieldConfig"]["defaults"].get("unit"), "numbers have a unit"
        assert all(target["instant"] != (panel["type"] == "timeseries") for target in panel["targets"])
    if panel["type"] in {"stat", "bargauge", "state-timeline", "table"}:
        assert panel["fieldConfig"]["defaults"]["noValue"] == "no data", "no data does not look like zero"
    if len(panel["targets"]) > 1 and panel["type"] != "table":
        assert all(target["legendFormat"] for target in panel["targets"])


@pytest.mark.parametrize(("title", "expr", "instant"), QUERIES)
def test_lint_query(title: str, expr: str, instant: bool) -> None:
    known = {metric.name for metric in (*metrics.METRICS, metrics.EXPECTED)}
    named = set(re.findall(r"\b(?:vllm_eval_\w+|ALERTS)\b", expr))
    assert named, f"{title} asks for nothing of ours"
    assert named <= known | {"ALERTS"}, f"{title} asks for {named - known}, which is not in the contract"
    selectors = re.findall(r"\b(?:vllm_eval_\w+|ALERTS)(\{[^}]*\})?", expr)
    if expr != monitoring.HEADLINE_QUERY:
        for selector in selectors:
            assert 'stack="$stack"' in selector, f"{title}: a selector without a stack shows every stack"
            assert 'model=~"$model"' in selector, title


def test_every_metric_of_the_contract_is_shown() -> None:
    shown = " ".join(expr for _, expr, _ in QUERIES)
    for metric in (*metrics.METRICS, metrics.EXPECTED):
        assert re.search(rf"\b{metric.name}\b", shown), f"no panel shows {metric.name}"


def test_variables() -> None:
    variables = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
    # Alerts link with these names.
    assert list(variables) == ["datasource", "stack", "model", "task"]
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    for name in ("stack", "model", "task"):
        variable = variables[name]
        assert variable["datasource"] == DATASOURCE
        assert variable["refresh"] == 2, "on time range change: new models appear"
        assert variable["multi"] == variable["includeAll"] == (name != "stack")
        assert re.fullmatch(r"label_values\(.+, " + name + r"\)", variable["query"]["query"])


def test_history_is_repeated_for_every_task_and_model() -> None:
    row = next(panel for panel in BOARD["panels"] if panel.get("repeat") == "task")
    panel = next(panel for panel in PANELS if panel.get("repeat") == "model")
    assert (row["type"], row["title"], panel["title"]) == ("row", "History of $task", "$model")
    overrides = {
        o["matcher"]["options"]: {p["id"]: p["value"] for p in o["properties"]}
        for o in panel["fieldConfig"]["overrides"]
    }
    legends = {target["legendFormat"] for target in panel["targets"]}
    assert set(overrides) <= legends, "an override names a line that is not there"
    assert overrides["95 % above"]["custom.fillBelowTo"] in legends


def test_verdicts_have_a_text_and_a_colour_each() -> None:
    panel = next(panel for panel in PANELS if panel["title"] == "Verdicts")
    [mapping] = panel["fieldConfig"]["defaults"]["mappings"]
    texts = {code: result["text"] for code, result in mapping["options"].items()}
    assert texts == {"0": "none"} | {str(code): name for code, name in enumerate(metrics.VERDICTS, 1)}
    assert len({result["color"] for code, result in mapping["options"].items() if code != "0"}) == len(metrics.VERDICTS)


def test_links() -> None:
    [link] = BOARD["links"]
    assert (link["title"], link["url"]) == ("Runbook", monitoring.RUNBOOK_URL)


def test_the_table_renames_columns_that_exist() -> None:
    panel = next(panel for panel in PANELS if panel["title"] == "Scores now")
    organize = next(step["options"] for step in panel["transformations"] if step["id"] == "organize")
    refs = {f"Value #{target['refId']}" for target in panel["targets"]}
    asked = {name for name in (*organize["renameByName"], *organize["excludeByName"]) if name.startswith("Value #")}
    assert asked == refs
    shown = set(organize["renameByName"].values())
    for override in panel["fieldConfig"]["overrides"]:
        assert override["matcher"]["options"] in shown
