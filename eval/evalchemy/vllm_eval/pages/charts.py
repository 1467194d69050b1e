"""Drawings of scores with their intervals, as SVG; colours and fonts are the style sheet's."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from leather import theme
from leather.chart import Chart
from leather.scales import Linear
from leather.series import Series
from leather.shapes.base import Shape

from vllm_eval.stats import Interval

# One after the other for the tags of a history; shapes differ, not colours alone.
MARKS = ("circle", "square", "diamond", "triangle")
WIDTH, HEIGHT = 560, 220
_FONT = 12


@dataclass(frozen=True)
class Point:
    """One run in a task's history; ``title`` is what a pointer or a screen reader is told."""

    when: str
    tag: str
    score: float
    interval: Interval | None
    title: str
    chosen: bool


def interval_bar(score: float | None, interval: Interval | None, baseline: float | None) -> str:
    """Draw a score on 0..1: its interval as a bar, the score as a dot, the baseline as a line across."""
    width, height = 180, 20
    root = ET.Element("svg", {"class": "bar", "viewBox": f"0 0 {width} {height}", "aria-hidden": "true"})

    def add(name: str, kind: str, **values: float) -> None:
        ET.SubElement(root, name, {"class": kind, **{key: f"{value:.1f}" for key, value in values.items()}})

    def place(value: float) -> float:
        return 4 + value * (width - 8)

    add("line", "track", x1=place(0), x2=place(1), y1=height / 2, y2=height / 2)
    if interval is not None:
        low, high = place(interval.low), place(interval.high)
        add("rect", "interval", x=low, y=height / 2 - 4, width=max(high - low, 1), height=8)
    if baseline is not None:
        add("line", "baseline", x1=place(baseline), x2=place(baseline), y1=1, y2=height - 1)
    if score is not None:
        add("circle", "score", cx=place(score), cy=height / 2, r=4)
    return ET.tostring(root, encoding="unicode")


def history(points: Sequence[Point], baseline: float | None, label: str) -> str:
    """Draw the scores of a task over its runs, oldest left; the mark of a run tells its tag.

    Parameters
    ----------
    points
        At least one.
    label
        The drawing's name for screen readers.
    """
    theme.tick_font_char_width, theme.tick_font_char_height = 7, _FONT
    theme.margin = 0.03
    chart: Any = Chart()
    last = max(len(points) - 1, 1)
    chart.set_x_scale(_Order(-0.5, last + 0.5))
    low, high = _domain(points, baseline)
    chart.set_y_scale(Linear(low, high))
    step = max(1, -(-len(points) // 7))
    ticks = list(range(0, len(points), step))
    chart.add_x_axis(ticks=ticks, tick_formatter=lambda value, *_: points[int(value)].when)
    chart.add_y_axis(tick_formatter=lambda value, *_: f"{float(value):g}")
    chart.add_series(Series([(index, point.score) for index, point in enumerate(points)]), _Runs(points, baseline))
    group = chart.to_svg_group(WIDTH, HEIGHT)
    root = ET.Element(
        "svg", {"class": "history", "viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "aria-label": label}
    )
    root.append(group)
    return ET.tostring(root, encoding="unicode")


def marks_of(points: Sequence[Point]) -> dict[str, str]:
    """Return each tag's mark, in order of appearance; the fifth tag begins again with the first mark."""
    tags = dict.fromkeys(point.tag for point in points)
    return {tag: MARKS[index % len(MARKS)] for index, tag in enumerate(tags)}


def mark(kind: str, x: float = 6, y: float = 6, *, chosen: bool = False) -> ET.Element:
    """Return one mark; the run that the page is about is drawn larger."""
    size = 5.5 if chosen else 3.5
    attributes = {"class": f"mark {kind}{' chosen' if chosen else ''}"}
    if kind == "circle":
        return ET.Element("circle", {**attributes, "cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": f"{size}"})
    outlines: dict[str, list[tuple[float, float]]] = {
        "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
        "diamond": [(0, -1.4), (1.4, 0), (0, 1.4), (-1.4, 0)],
        "triangle": [(0, -1.3), (1.2, 1), (-1.2, 1)],
    }
    points = " ".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in outlines[kind])
    return ET.Element("polygon", {**attributes, "points": points})


class _Order(Linear):  # type: ignore[misc]  # leather has no types
    """The runs' order from edge to edge; leather's own scale widens it to round numbers."""

    def project(self, value: float, range_min: float, range_max: float) -> float:
        """Return the place of a run."""
        low, high = self._data_min, self._data_max
        return float(range_min + (range_max - range_min) * (value - float(low)) / float(high - low))


class _Runs(Shape):  # type: ignore[misc]  # leather has no types
    """Marks with whiskers, a line through them, and the baseline across."""

    def __init__(self, points: Sequence[Point], baseline: float | None) -> None:
        self._points, self._baseline = points, baseline

    def validate_series(self, series: object) -> None:
        """Take any series: it is made from the points above."""

    def to_svg(self, width: float, height: float, x_scale: Any, y_scale: Any, *_: object) -> ET.Element:  # noqa: ANN401
        """Return the group of all marks."""
        group = ET.Element("g", {"class": "runs"})

        def across(value: float) -> float:
            return float(y_scale.project(value, height, 0))

        if self._baseline is not None:
            y = f"{across(self._baseline):.1f}"
            ET.SubElement(group, "line", {"class": "baseline", "x1": "0", "x2": f"{width:.1f}", "y1": y, "y2": y})
        placed = [(float(x_scale.project(index, 0, width)), point) for index, point in enumerate(self._points)]
        path = " ".join(f"{x:.1f},{across(point.score):.1f}" for x, point in placed)
        ET.SubElement(group, "polyline", {"class": "path", "points": path})
        group.extend(self._marked(placed, across))
        return group

    def _marked(self, placed: Sequence[tuple[float, Point]], across: Any) -> Iterator[ET.Element]:  # noqa: ANN401
        kinds = marks_of(self._points)
        for x, point in placed:
            one = ET.Element("g", {"class": "run"})
            ET.SubElement(one, "title").text = point.title
            if point.interval is not None:
                ends = {"y1": f"{across(point.interval.low):.1f}", "y2": f"{across(point.interval.high):.1f}"}
                ET.SubElement(one, "line", {"class": "whisker", "x1": f"{x:.1f}", "x2": f"{x:.1f}", **ends})
            one.append(mark(kinds[point.tag], x, across(point.score), chosen=point.chosen))
            yield one


def _domain(points: Sequence[Point], baseline: float | None) -> tuple[float, float]:
    """Return a range that shows every interval, within 0..1 and not so narrow that noise looks like a cliff."""
    values = [point.score for point in points] + ([baseline] if baseline is not None else [])
    for point in points:
        values += [point.interval.low, point.interval.high] if point.interval is not None else []
    low, high = min(values), max(values)
    middle, half = (low + high) / 2, max((high - low) / 2 * 1.1, 0.05)
    return max(0.0, middle - half), min(1.0, middle + half)
