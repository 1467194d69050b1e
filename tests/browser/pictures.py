"""Takes the pictures of the documentation: `make pictures`."""

import tempfile
from pathlib import Path
from typing import Final

from tests.support.browser import chromium
from tests.support.report_runs import MODEL, STACK, history
from vllm_eval.pages.run_page import render_run
from vllm_eval.results import ResultStore
from vllm_eval.storage import LocalStorage

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs/images"


def main() -> None:
    """Write each picture."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run = history(folder / "results")
        store = ResultStore(LocalStorage(folder / "results"))
        page = folder / "page.html"
        page.write_bytes(render_run(store, store.runs(STACK, MODEL), run))
        with chromium(folder / "profile") as browser:
            browser.size(1180, 1240)
            for scheme, name in (("light", "report.webp"), ("dark", "report-dark.webp")):
                browser.scheme(scheme)
                browser.open(page.as_uri())
                browser.picture(FOLDER / name)


if __name__ == "__main__":
    main()
