"""The dashboard as a page: every panel in its place, drawn from its own queries' answers of a Prometheus.

No Grafana: its server is in no package registry, and AGPL. Where a panel stands, its titles, queries, legends, units,
thresholds and value mappings are the dashboard's; the look is not Grafana's.
"""

import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.monitoring import board
from tests.support.monitoring.prometheus import Prometheus

SPAN, STEP = 14 * 86_400, 3600
LINES = ("#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0")
COLOURS = {"green": "#73bf69", "red": "#f2495c", "yellow": "#fade2a", "blue": "#5794f2", "text": "#8e8e8e"}
STYLE = """
body { margin: 0; background: #111217; color: #ccccdc; font: 13px system-ui, sans-serif; }
main { display: grid; grid-template-columns: repeat(24, 1fr); grid-auto-rows: 30px; gap: 6px; padding: 8px; }
section { background: #181b1f; border: 1px solid #2c3235; border-radius: 3px; padding: 6px 8px; overflow: hidden; }
.row { background: none; border: 0; font-size: 15px; } h2 { font-size: 13px; font-weight: 500; margin: 0 0 4px; }
.big { font-size: 32px; font-weight: 600; display: inline-block; margin-right: 16px; } .big small { font-size: 12px; }
table { width: 100%; border-collapse: collapse; }
td, th { text-align: left; padding: 3px 6px; border-bottom: 1px solid #2c3235; }
svg { width: 100%; display: block; } svg text { fill: #8e8e8e; font-size: 11px; }
.key { font-size: 11px; color: #a0a0b0; }
"""


@dataclass(frozen=True)
class Drawn:
    """A panel's title, its HTML, and how many series its queries gave."""

    title: str
    kind: str
    html: str
    series: int


def draw(server: Prometheus, now: float) -> tuple[str, list[Drawn]]:
    """Return the page, as of ``now`` (Unix seconds), and its panels."""
    drawer = _Drawer(server, now)
    cells: list[str] = []
    drawn: list[Drawn] = []
    below = 0
    for panel in board.load()["panels"]:
        place = panel["gridPos"]
        copies = list(drawer.copies(panel))
        for index, (title, fill) in enumerate(copies):
            at = {**place, "x": place["x"] + (index % 2) * 12, "y": place["y"] + below + index // 2 * place["h"]}
            one = drawer.panel(panel, title, fill)
            cells.append(_cell(one, at))
            drawn += [one] if one.kind != "row" else []
        below += (len(copies) - 1) // 2 * place["h"] if len(copies) > 1 else 0
    head = f"<!doctype html><meta charset=utf-8><title>dashboard</title><style>{STYLE}</style>"
    return f"{head}<main>{''.join(cells)}</main>", drawn


class _Drawer:
    def __init__(self, server: Prometheus, now: float) -> None:
        self._server, self._now = server, now
        self._values: dict[str, list[str]] = {}
        for variable in board.load()["templating"]["list"]:
            if variable["type"] == "query":
                metric = re.search(r"(vllm_eval_\w+)", json.dumps(variable["query"]))
                assert metric is not None
                samples = server.query(f"count by ({variable['name']}) ({metric[1]})")
                self._values[variable["name"]] = sorted(each["metric"][variable["name"]] for each in samples)

    def copies(self, panel: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, list[str]]]]:
        """Iterate over titles and choices: one for each value of what a panel is repeated for."""
        repeated = panel.get("repeat")
        if not repeated or panel["type"] == "row":
            chosen = {"tasks": ["custom_task_1"]} if "$task" in panel.get("title", "") else {}
            yield panel.get("title", "").replace("$task", "custom_task_1"), chosen
            return
        for value in self._values[repeated]:
            yield value, {f"{repeated}s": [value], "tasks": ["custom_task_1"]}

    def panel(self, panel: Mapping[str, Any], title: str, fill: Mapping[str, Any]) -> Drawn:
        """Draw one panel."""
        kind = panel["type"]
        if kind == "row":
            return Drawn(title, kind, "", 0)
        defaults = panel.get("fieldConfig", {}).get("defaults", {})
        answers = [(target, self._asked(target, fill)) for target in panel["targets"]]
        count = sum(len(series) for _, series in answers)
        if kind == "table":
            return Drawn(title, kind, _table(panel, answers), count)
        series = [(_legend(target, each["metric"]), each) for target, found in answers for each in found]
        if kind in {"stat", "bargauge"}:
            values = [(name, float(each["value"][1])) for name, each in series]
            return Drawn(title, kind, (_stat if kind == "stat" else _bars)(values, defaults), count)
        points = [(name, [(float(at), float(value)) for at, value in each["values"]]) for name, each in series]
        start = self._now - SPAN
        # Pixels, more or less, so that letters are as large in every panel.
        size = (panel["gridPos"]["w"] * 54.0, panel["gridPos"]["h"] * 36.0 - 70)
        content = (_states if kind == "state-timeline" else _lines)(points, defaults, start, size)
        return Drawn(title, kind, content, count)

    def _asked(self, target: Mapping[str, Any], fill: Mapping[str, Any]) -> list[dict[str, Any]]:
        expr = board.fill(target["expr"], **fill)
        if target["instant"]:
            found: list[dict[str, Any]] = self._server.get("query", query=expr, time=str(self._now))["result"]
        else:
            span = {"start": str(self._now - SPAN), "end": str(self._now), "step": str(STEP)}
            found = self._server.get("query_range", query=expr, **span)["result"]
        return found


def _cell(one: Drawn, at: Mapping[str, int]) -> str:
    area = f"{at['y'] + 1} / {at['x'] + 1} / span {at['h']} / span {at['w']}"
    kind = "row" if one.kind == "row" else "panel"
    return f'<section class="{kind}" style="grid-area: {area}"><h2>{html.escape(one.title)}</h2>{one.html}</section>'


def _legend(target: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    pattern = target.get("legendFormat") or ""
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), pattern)


def _said(value: float, unit: str | None) -> str:
    if unit == "percentunit":
        return f"{value * 100:.1f}%"
    if unit == "s":
        if value < 120:
            return f"{value:.3g} s"
        return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"
    return f"{value:.2f} {'req/s' if unit == 'reqps' else ''}" if value % 1 else f"{value:.0f}"


def _colour(value: float, defaults: Mapping[str, Any]) -> str:
    steps = defaults.get("thresholds", {}).get("steps", [])
    passed = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return COLOURS.get(passed[-1], passed[-1]) if passed else COLOURS["green"]


def _stat(values: Sequence[tuple[str, float]], defaults: Mapping[str, Any]) -> str:
    return "".join(
        f'<span class="big" style="color:{_colour(value, defaults)}">{_said(value, defaults.get("unit"))}'
        f" <small>{html.escape(name)}</small></span>"
        for name, value in values
    )


def _bars(values: Sequence[tuple[str, float]], defaults: Mapping[str, Any]) -> str:
    low, high = defaults.get("min", 0), defaults.get("max", 1)
    rows = []
    for name, value in values:
        width = max(0.0, min(1.0, (value - low) / (high - low))) * 100
        bar = f'<div style="background:{_colour(value, defaults)};width:{width:.1f}%;height:16px"></div>'
        rows.append(f"<tr><td>{html.escape(name)}</td><td style='width:45%'>{bar}</td>"
                    f"<td>{_said(value, defaults.get('unit'))}</td></tr>")  # fmt: skip
    return f"<table>{''.join(rows)}</table>"


Points = Sequence[tuple[str, list[tuple[float, float]]]]


def _lines(points: Points, defaults: Mapping[str, Any], start: float, size: tuple[float, float]) -> str:
    (width, height), left = size, 64.0
    values = [value for _, line in points for _, value in line] or [0.0]
    low, high = min(values), max(values)
    low, high = (low - 0.05 * (high - low), high + 0.05 * (high - low)) if high > low else (low - 0.5, high + 0.5)
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = 10 + (1 - share) * (height - 20)
        text = _said(low + share * (high - low), defaults.get("unit"))
        parts.append(
            f'<line x1="{left}" x2="{width}" y1="{y}" y2="{y}" stroke="#2c3235"/><text x="0" y="{y + 4}">{text}</text>'
        )
    for index, (_, line) in enumerate(points):
        places = [
            (left + (at - start) / SPAN * (width - left), 10 + (1 - (value - low) / (high - low)) * (height - 20))
            for at, value in line
        ]
        dots = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline fill="none" stroke-width="1.6" stroke="{LINES[index % len(LINES)]}" points="{dots}"/>')
    key = "".join(
        f'<span style="color:{LINES[index % len(LINES)]}">▬ </span>{html.escape(name)} &nbsp; '
        for index, (name, _) in enumerate(points)
    )
    return f'<svg viewBox="0 0 {width} {height}">{"".join(parts)}</svg><p class="key">{key}</p>'


def _states(points: Points, defaults: Mapping[str, Any], start: float, size: tuple[float, float]) -> str:
    options: dict[str, Any] = {}
    for mapping in defaults.get("mappings", []):
        options |= mapping["options"]
    rows = []
    wide = (size[0] - 300) * STEP / SPAN + 0.5
    for index, (name, line) in enumerate(points):
        y = index * 30
        boxes = [f'<text x="0" y="{y + 18}">{html.escape(name)}</text>']
        for at, value in line:
            colour = COLOURS.get(options.get(f"{value:g}", {}).get("color", "text"), "#8e8e8e")
            x = 300 + (at - start) / SPAN * (size[0] - 300)
            boxes.append(f'<rect x="{x:.1f}" y="{y}" width="{wide:.2f}" height="24" fill="{colour}"/>')
        rows.append("".join(boxes))
    used = dict.fromkeys(f"{value:g}" for _, line in points for _, value in line)
    key = "".join(
        f'<span style="color:{COLOURS.get(options[each]["color"], "#8e8e8e")}">■ </span>{options[each]["text"]} &nbsp; '
        for each in used if each in options
    )  # fmt: skip
    return f'<svg viewBox="0 0 {size[0]} {max(len(points) * 30, 30)}">{"".join(rows)}</svg><p class="key">{key}</p>'


def _table(panel: Mapping[str, Any], answers: Sequence[tuple[Mapping[str, Any], list[dict[str, Any]]]]) -> str:
    """Join the queries' rows by their labels, as the panel's `merge` does, and name columns as `organize` does."""
    organize: dict[str, Any] = {}
    for each in panel.get("transformations", []):
        organize |= each["options"] if each["id"] == "organize" else {}
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    keys = ("model", "model_tag", "task")
    for target, found in answers:
        column = f"Value #{target['refId']}" if len(answers) > 1 else "Value"
        for each in found:
            row = rows.setdefault(tuple(each["metric"].get(key, "") for key in keys), {})
            row |= {**each["metric"], column: f"{float(each['value'][1]):.3g}"}
    left = organize.get("excludeByName", {})
    columns = [name for name in dict.fromkeys(name for row in rows.values() for name in row) if not left.get(name)]
    renamed = organize.get("renameByName", {})
    head = "".join(f"<th>{html.escape(renamed.get(name) or name)}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(row.get(name, str()))}</td>' for name in columns)}</tr>"
        for row in rows.values()
    )
    return f"<table><tr>{head}</tr>{body}</table>"
