"""Shows the dashboard in a real Grafana and takes its picture: `make grafana-picture GRAFANA=http://host:3000`.

For a Grafana that is only there for this: with its first password, and anybody may look (GF_AUTH_ANONYMOUS_ENABLED).
Its data is two weeks in a Prometheus of our own. Unproven: no registry of packages has Grafana's server.
"""

import argparse
import base64
import json
import os
import socket
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from tests.support.browser import Browser, chromium
from tests.support.monitoring import board
from tests.support.monitoring.history import fortnight
from tests.support.monitoring.prometheus import serve, wait_for, write_history
from workbench.paths import cache_dir

SOURCE: Final = "vllm-eval-picture"
LOGIN: Final = "Basic " + base64.b64encode(b"admin:admin").decode()
FAULTS: Final = "[data-testid='data-testid Panel status error'], [data-testid='data-testid Panel status warning']"
DRAWN: Final = "return document.querySelectorAll(\"[aria-label='Panel loading bar']\").length === 0"


def main() -> None:
    """Take the picture.

    Raises
    ------
    AssertionError
        Grafana does not answer, or a panel is missing or shows an error.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.browser.grafana")
    parser.add_argument("--grafana", default="", metavar="URL", help="its address, such as http://localhost:3000")
    parser.add_argument("--picture", type=Path, default=Path("out/grafana.webp"), help="where the picture goes")
    given = parser.parse_args()
    if not given.grafana:
        parser.error("GRAFANA is not set: make grafana-picture GRAFANA=http://localhost:3000")
    os.environ["PATH"] = f"{cache_dir() / 'bin'}{os.pathsep}{os.environ['PATH']}"
    given.picture.parent.mkdir(parents=True, exist_ok=True)
    grafana = given.grafana.rstrip("/")
    wait_for(f"Grafana at {grafana}", lambda: _answers(grafana), seconds=120)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "prometheus").mkdir()
        write_history(folder / "prometheus", fortnight(time.time()))
        # Grafana may run in another container: it asks this machine by an address that both have.
        here = socket.gethostbyname(socket.gethostname())
        with serve(folder / "prometheus", host=here) as server, chromium(folder / "profile") as browser:
            _ask(
                grafana, "/api/datasources", name=SOURCE, uid=SOURCE, type="prometheus", access="proxy", url=server.url
            )
            _ask(grafana, "/api/dashboards/db", dashboard=board.load(), overwrite=True)
            _look(browser, grafana, given.picture)


def _look(browser: Browser, grafana: str, picture: Path) -> None:
    # So high that every panel is in sight: those that are not are not drawn.
    browser.size(1600, 4200)
    query = f"orgId=1&from=now-14d&to=now&kiosk&var-datasource={SOURCE}&var-stack=prod"
    titles = {panel["title"] for panel in board.panels(board.load())} - {"$model"}
    browser.open(f"{grafana}/d/vllm-eval?{query}", ready="return document.readyState === 'complete'")
    missing = f"{json.dumps(sorted(titles))}.filter((title) => !document.body.innerText.includes(title))"
    try:
        browser.wait(f"return {missing}.length === 0", seconds=90)
        browser.wait(DRAWN, seconds=90)
    finally:
        time.sleep(2)  # the last lines are drawn after the last answer
        browser.picture(picture)
    assert browser.run(f"return {missing}") == []
    assert browser.run(f"return [...document.querySelectorAll({json.dumps(FAULTS)})].length") == 0


def _ask(grafana: str, path: str, **body: Any) -> None:  # noqa: ANN401 (JSON)
    headers = {"Content-Type": "application/json", "Authorization": LOGIN}
    request = urllib.request.Request(f"{grafana}{path}", json.dumps(body).encode(), headers, method="POST")  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30):  # noqa: S310 (an address that was typed)
            pass
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{path}: {error.code} {error.read().decode(errors='replace')}") from error


def _answers(grafana: str) -> bool:
    try:
        with urllib.request.urlopen(f"{grafana}/api/health", timeout=5) as answer:  # noqa: S310 (an address that was typed)
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    main()
