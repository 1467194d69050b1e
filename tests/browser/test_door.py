"""`make ui` in a browser: a person finds the first answer that became wrong with one click."""

import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from selenium.webdriver.common.by import By

from tests.support.browser import Browser
from tests.support.monitoring.history import fortnight
from tests.support.monitoring.prometheus import serve, write_history
from tests.support.sandbox_door import Answering, open_door
from workbench.paths import Paths
from workbench.toolchain import prometheus_page as built

CLONE: Final = Paths.of_this_clone()
pytestmark = pytest.mark.browser


def test_from_the_alert_to_the_first_flipped_answer_in_one_click(browser: Browser, tmp_path: Path) -> None:
    with open_door(Answering(tmp_path).with_reports()) as url:
        browser.open(f"{url}/", ready="return document.readyState === 'complete'")
        assert browser.driver.title == "vllm-eval: the sandbox"
        assert "EvaluationRegression" in browser.run("return document.querySelector('.headline').textContent")
        assert browser.requests() == [f"{url}/"]
        browser.driver.find_element(By.CSS_SELECTOR, "main a").click()
        browser.wait("return document.documentElement.dataset.ready === '1'")
        assert "became wrong" in browser.run("return document.getElementById('item').textContent")
        assert browser.complaints() == []


@pytest.mark.skipif(not built.folder(CLONE).is_dir(), reason="Prometheus' page is not built: make prometheus-page")
def test_prometheus_own_page_draws_a_query_of_ours(browser: Browser, tmp_path: Path) -> None:
    class Asking(Answering):
        """A sandbox whose API server leads to a real Prometheus."""

        url = ""

        def run(self, command: Sequence[str | Path], **more: Any) -> str:  # noqa: ANN401
            _, proxy, path = str(command[-1]).partition("/services/prometheus-operated:9090/proxy")
            if not proxy:
                return super().run(command, **more)
            with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:  # noqa: S310 (loopback)
                return str(answer.read().decode())

    sandbox = Asking(tmp_path / "sandbox").with_reports()
    page = built.folder(sandbox.paths)
    page.parent.mkdir()
    page.symlink_to(built.folder(CLONE))
    (tmp_path / "data").mkdir()
    write_history(tmp_path / "data", fortnight(time.time()))
    with serve(tmp_path / "data") as server, open_door(sandbox) as url:
        sandbox.url = server.url  # type: ignore[attr-defined]
        query = "g0.expr=vllm_eval_exact_match&g0.tab=table"
        browser.open(f"{url}/prometheus/query?{query}", ready="return document.title.startsWith('Prometheus')")
        browser.wait("return document.body.innerText.includes('model=\"google/gemma-3-27b-it\"')")
        browser.open(f"{url}/prometheus/alerts", ready="return document.body.innerText.includes('Alerts')")
        assert browser.complaints() == []


def test_the_index_leads_to_each_run(browser: Browser, tmp_path: Path) -> None:
    with open_door(Answering(tmp_path).with_reports()) as url:
        browser.open(f"{url}/results/index.html", ready="return document.readyState === 'complete'")
        browser.driver.find_element(By.CSS_SELECTOR, "tbody a").click()
        browser.wait("return document.documentElement.dataset.ready === '1'")
        assert browser.complaints() == []
