"""As the person whom an alert woke: from the alert's link to the first answer that became wrong, in three clicks."""

from pathlib import Path
from urllib.parse import quote_plus

import pytest
from selenium.webdriver.common.by import By

from monitoring.texts import report_link
from tests.support.browser import Browser
from tests.support.report_runs import MODEL, STACK, history, samples, save_run
from tests.support.serving import serving
from vllm_eval.pages.serve import open_server
from vllm_eval.pages.write import write_pages
from vllm_eval.results import ResultStore
from vllm_eval.storage import LocalStorage

pytestmark = pytest.mark.browser
COMPLETE = "return document.readyState === 'complete'"


def test_from_the_alerts_link_to_the_first_flipped_answer_of_its_task(browser: Browser, tmp_path: Path) -> None:
    store = ResultStore(LocalStorage(tmp_path / "claim"))
    for index in range(30):  # so many other models that the alert's is not in sight by itself
        other = {"task": samples(3, 1.0, 0)}
        write_pages(store, save_run(store, f"other {index}", 0, "v1", other, model=f"org/another-{index}"))
    write_pages(store, history(tmp_path / "claim", items=200))
    server = open_server(store.storage, "127.0.0.1", 0)
    with serving(server):
        link = report_link(f"http://127.0.0.1:{server.server_port}/")
        for label, value in (("stack", STACK), ("model", MODEL)):
            link = link.replace(f"{{{{ $labels.{label} | urlquery }}}}", quote_plus(value))
        message = tmp_path / "message.html"
        message.write_text(f'<title>Slack</title><a href="{link}">Answers</a>')
        browser.open(message.as_uri(), ready=COMPLETE)

        browser.driver.find_element(By.LINK_TEXT, "Answers").click()
        browser.wait(f"return document.querySelector('th:target')?.textContent === '{MODEL}'")
        place = browser.run("return document.querySelector('th:target').getBoundingClientRect().top / innerHeight")
        assert 0 <= place < 1
        newest = browser.driver.find_element(By.CSS_SELECTOR, "tr:has(th:target)")
        newest.find_element(By.PARTIAL_LINK_TEXT, "custom_task_1").click()
        browser.wait("return document.documentElement.dataset.ready === '1'")
        assert browser.run("return document.getElementById('task').value") == "custom_task_1"
        assert browser.run("return document.querySelector('#show :checked').value") == "lost"
        assert "became wrong" in browser.run("return document.getElementById('item').textContent")
        assert browser.complaints() == []
