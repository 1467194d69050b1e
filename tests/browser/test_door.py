"""`make ui` in a browser: a person finds the first answer that became wrong with one click."""

from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from tests.support.browser import Browser
from tests.support.sandbox_door import Answering, open_door

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


def test_the_index_leads_to_each_run(browser: Browser, tmp_path: Path) -> None:
    with open_door(Answering(tmp_path).with_reports()) as url:
        browser.open(f"{url}/results/index.html", ready="return document.readyState === 'complete'")
        browser.driver.find_element(By.CSS_SELECTOR, "tbody a").click()
        browser.wait("return document.documentElement.dataset.ready === '1'")
        assert browser.complaints() == []
