"""Every query that the dashboard and the rules of a stack ask, in one place, for any Prometheus.

All are instant queries. On a Prometheus that has seen two good runs of a model,
and scores for longer than the rules' day, each returns data, but for
`alert_queries`, which return data when there is something to tell.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import monitoring
from monitoring.thresholds import DAY
from tests.support.monitoring import board

_SELECTOR = re.compile(r'[a-zA-Z_:][\w:]*\{(?:[^}"]|"(?:\\.|[^"\\])*")*\}(?:\[\w+\](?: offset \w+)?)?')


class Query(NamedTuple):
    """One query, and where it is asked."""

    name: str
    promql: str


def panel_queries(
    stack: str, *, models: Sequence[str] = (), tasks: Sequence[str] = (), interval: str = "1d"
) -> list[Query]:
    """Return the queries of the dashboard: panels, then marks, then the lists of its variables.

    Panels of alerts that fire are left out: `firing_query` has theirs.

    Parameters
    ----------
    stack, models, tasks
        What is chosen on the dashboard; no models and no tasks are all of them. Panels that
        are repeated for each model and task are asked once for each of those chosen.
    interval
        Grafana's interval. Marks stand where something is new since the interval before, so a
        long one makes their query return data at any moment after a change.
    """
    shown = board.load()
    filled: list[Query] = []
    for title, expr, _ in board.queries(shown):
        for model, task in _repeats(title, models, tasks):
            chosen = board.fill(expr, stack=stack, models=model, tasks=task, interval=interval)
            name = title.replace("$model", " ".join([*model, *task]) or "history")
            filled.append(Query(name, chosen))
    firing = firing_query(stack, models=models)
    variables = [v for v in shown["templating"]["list"] if v["type"] == "query"]
    lists = [Query(f"variable {v['name']}", _values(v, stack=stack, models=models)) for v in variables]
    return [query for query in filled if query != firing] + lists


def firing_query(stack: str, *, models: Sequence[str] = ()) -> Query:
    """Return the query of the panel that shows the alerts that fire."""
    [expr] = [expr for title, expr, _ in board.queries(board.load()) if title == "Alerts"]
    return Query("Alerts", board.fill(expr, stack=stack, models=models))


def _repeats(title: str, models: Sequence[str], tasks: Sequence[str]) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    if "$model" not in title:
        yield models, tasks
        return
    for task in [[one] for one in tasks] or [[]]:
        for model in [[one] for one in models] or [[]]:
            yield model, task


def _values(variable: dict[str, Any], *, stack: str, models: Sequence[str]) -> str:
    # `label_values` is Grafana's word for a question to another page of the API.
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
    assert found, variable
    return f"group by ({found[2]}) ({board.fill(found[1], stack=stack, models=models)})"


def rule_queries(stack: str, *, models: Sequence[str] = (), day: str = DAY) -> list[Query]:
    """Return what the rules of a stack ask and keep.

    Of a recording rule its expression and the series that it keeps; of an alert each series
    that it looks at, through its window, whether or not it fires.

    Parameters
    ----------
    stack, models, day
        As the stack's settings have them.
    """
    asked: list[Query] = []
    for rule in _rules(stack, models, day):
        if "record" in rule:
            asked += [Query(rule["record"], rule["expr"]), Query(f"{rule['record']} kept", rule["record"])]
        else:
            asked += [Query(f"{rule['alert']} looks at", _instant(s)) for s in _selectors(rule["expr"])]
    return asked


def alert_queries(stack: str, *, models: Sequence[str] = (), day: str = DAY) -> list[Query]:
    """Return the alerts' own expressions: without error always, with data when there is something to tell."""
    return [Query(rule["alert"], rule["expr"]) for rule in _rules(stack, models, day) if "alert" in rule]


def _rules(stack: str, models: Sequence[str], day: str) -> Iterator[dict[str, Any]]:
    for group in monitoring.rule_groups(stack=stack, models=models, day=day):
        yield from group["rules"]


def _selectors(expr: str) -> list[str]:
    return list(dict.fromkeys(_SELECTOR.findall(expr)))


def _instant(selector: str) -> str:
    return f"last_over_time({selector})" if "[" in selector else selector
