"""The dashboard, seen: each panel from its own queries' answers of a real Prometheus, in its place."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Browser
from tests.support.monitoring import board
from tests.support.monitoring.drawn import draw
from tests.support.monitoring.history import MODELS, fortnight
from tests.support.monitoring.prometheus import Prometheus, serve, write_history

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, float]]:
    """A Prometheus with two weeks until a moment, and that moment."""
    folder = tmp_path_factory.mktemp("prometheus")
    now = time.time()
    write_history(folder, fortnight(now))
    with serve(folder) as running:
        yield running, now


def test_every_panel_has_something_to_show_and_none_covers_another(
    browser: Browser, served: tuple[Prometheus, float], tmp_path: Path
) -> None:
    page, drawn = draw(*served)
    assert {each.title for each in drawn} >= {panel["title"] for panel in board.panels(board.load())} - {"$model"}
    assert {each.title for each in drawn} >= set(MODELS)
    assert [each.title for each in drawn if not each.series] == []
    (tmp_path / "dashboard.html").write_text(page)
    browser.open((tmp_path / "dashboard.html").as_uri(), ready="return document.readyState === 'complete'")
    overlaps = browser.run(
        "const boxes = [...document.querySelectorAll('section')].map((each) => [each.textContent.slice(0, 30),"
        " each.getBoundingClientRect()]); const hit = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 &&"
        " a.top < b.bottom - 1 && b.top < a.bottom - 1; return boxes.flatMap(([name, a], i) => boxes.slice(i + 1)"
        ".filter(([, b]) => hit(a, b)).map(([other]) => [name, other]));"
    )
    assert overlaps == []
    assert "worse" in browser.run("return document.body.textContent")
    assert browser.complaints() == []
