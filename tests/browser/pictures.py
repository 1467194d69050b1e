"""Takes the pictures of the documentation: `make pictures`."""

import os
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.support.browser import Browser, chromium
from tests.support.monitoring.drawn import draw
from tests.support.monitoring.history import fortnight
from tests.support.monitoring.prometheus import serve, write_history
from tests.support.report_runs import MODEL, STACK, history
from tests.support.sandbox_door import Answering, open_door
from vllm_eval.pages.run_page import render_run
from vllm_eval.results import ResultStore
from vllm_eval.storage import LocalStorage
from workbench.paths import cache_dir

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs/images"
COMPLETE: Final = "return document.readyState === 'complete'"


def main() -> None:
    """Write each picture."""
    os.environ["PATH"] = f"{cache_dir() / 'bin'}{os.pathsep}{os.environ['PATH']}"
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with chromium(folder / "profile") as browser:
            _report(browser, folder)
            _dashboard(browser, folder)
            browser.size(1180, 900)
            with open_door(Answering(folder / "sandbox").with_reports()) as url:
                browser.open(f"{url}/", ready=COMPLETE)
                browser.picture(FOLDER / "sandbox.webp")


def _report(browser: Browser, folder: Path) -> None:
    run = history(folder / "results")
    store = ResultStore(LocalStorage(folder / "results"))
    page = folder / "page.html"
    page.write_bytes(render_run(store, store.runs(STACK, MODEL), run))
    browser.size(1180, 1240)
    for scheme, name in (("dark", "report-dark.webp"), ("light", "report.webp")):
        browser.scheme(scheme)
        browser.open(page.as_uri())
        browser.picture(FOLDER / name)


def _dashboard(browser: Browser, folder: Path) -> None:
    data = folder / "prometheus"
    data.mkdir()
    now = time.time()
    write_history(data, fortnight(now))
    with serve(data) as server:
        text, _ = draw(server, now)
    page = folder / "dashboard.html"
    page.write_text(text, encoding="utf-8")
    browser.size(1400, 2560)
    browser.open(page.as_uri(), ready=COMPLETE)
    browser.picture(FOLDER / "dashboard.webp")


if __name__ == "__main__":
    main()
