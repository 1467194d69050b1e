"""The report of a run as a person meets it: in a browser, by keyboard, with 20,000 items, with hostile answers."""

import random
import statistics
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By

from tests.support.browser import Browser
from tests.support.report_runs import STACK, history, samples, save_group, save_run
from vllm_eval.pages.run_page import render_run
from vllm_eval.records import RunResult, Sample
from vllm_eval.results import ResultStore
from vllm_eval.storage import LocalStorage

pytestmark = pytest.mark.browser
MANY = 20_000
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
ODD = "\u202eright to left\u202c \u0000\u0007\u001b[31m\x85 \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627"


def written(folder: Path, run: RunResult) -> str:
    """Write the page of ``run`` and return its address."""
    store = ResultStore(LocalStorage(folder))
    page = folder / "page.html"
    page.write_bytes(render_run(store, store.runs(STACK, run.model["name"]), run))
    return page.as_uri()


@pytest.fixture(scope="module")
def drop(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("drop")
    return written(folder, history(folder, items=500))


def wordy(made: list[Sample], seed: int) -> list[Sample]:
    """Give each item as many words as a benchmark's has, hard to compress: 110 in the prompt, 60 in the answer."""
    more = []
    for sample in made:
        same, other = random.Random(sample.doc_id), random.Random(sample.doc_id * 10 + seed)  # noqa: S311 - no secret
        prompt = " ".join(f"w{same.randrange(9000)}" for _ in range(110))
        answer = " ".join(f"w{same.randrange(9000)}" for _ in range(60))
        answer = f"{answer} {other.random()} {sample.answer}" if sample.value < 1 else f"{answer} {sample.answer}"
        more.append(sample.model_copy(update={"prompt": f"{prompt}\n\n{sample.prompt}", "answer": answer}))
    return more


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    store = ResultStore(LocalStorage(folder))
    save_run(store, "nightly", 0, "v1", {"task": wordy(samples(MANY, 0.7, 0), 0)})
    written(folder, save_run(store, "today", 1, "v2", {"task": wordy(samples(MANY, 0.6, 9, luck=0.1), 1)}))
    return folder / "page.html"


def rows(browser: Browser) -> list[str]:
    return list(browser.run("return [...document.querySelectorAll('.row')].map((row) => row.textContent)"))


def detail(browser: Browser) -> str:
    return str(browser.run("return document.getElementById('item').textContent"))


def keys(browser: Browser, selector: str, *pressed: str) -> None:
    browser.run("document.querySelector(arguments[0]).focus()", selector)
    for key in pressed:
        event = {"type": "keyDown", "key": key, "text": key if len(key) == 1 else ""}
        browser.driver.execute_cdp_cmd("Input.dispatchKeyEvent", event)
        browser.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyUp", "key": key})


def test_it_opens_on_the_first_answer_that_became_wrong(browser: Browser, drop: str) -> None:
    browser.open(drop)
    assert "became worse" in browser.run("return document.querySelector('.headline').textContent")
    assert browser.run("return document.querySelector('#show :checked').value") == "lost"
    shown = detail(browser)
    assert "became wrong" in shown
    assert "before (v1, " in shown
    assert browser.run("return document.querySelectorAll('#item del').length") > 0
    assert browser.run("return document.querySelectorAll('#item ins').length") > 0


def test_it_asks_the_network_for_nothing_and_the_console_is_quiet(browser: Browser, drop: str) -> None:
    browser.open(drop)
    assert browser.requests() == [drop]
    assert browser.complaints() == []


def test_arrow_keys_move_through_the_items_and_slash_searches(browser: Browser, drop: str) -> None:
    browser.open(drop)
    first = detail(browser)
    keys(browser, "#list", "ArrowDown")
    second = detail(browser)
    assert second != first
    keys(browser, "#list", "ArrowUp")
    assert detail(browser) == first
    keys(browser, "#list", "End", "/")
    assert browser.run("return document.activeElement.id") == "find"


def test_an_address_leads_a_colleague_to_the_same_item(browser: Browser, drop: str) -> None:
    browser.open(f"{drop}#task=custom_task_2&show=wrong")
    keys(browser, "#list", "ArrowDown", "ArrowDown")
    address, shown = browser.driver.current_url, detail(browser)
    browser.open(address)
    assert "task=custom_task_2" in address
    assert detail(browser) == shown


def test_a_search_leaves_the_items_that_have_the_text(browser: Browser, drop: str) -> None:
    browser.open(f"{drop}#task=custom_task_1&show=all&find=Daniel")
    shown = rows(browser)
    assert len(shown) > 5
    assert all("Daniel" in row for row in shown)
    browser.open(f"{drop}#task=custom_task_1&show=all&find=no%20such%20words")
    assert rows(browser) == []
    assert "No item is left" in detail(browser)


def test_twenty_thousand_items_are_drawn_and_filtered_within_a_second(browser: Browser, large: Path) -> None:
    """Measured on two busy cores, 13 MB: paint 0.2 s, list 1 s, filter and search below 0.1 s (medians)."""
    paints, lists, filters = [], [], []
    for _ in range(3):
        browser.open(large.as_uri())
        paint = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        browser.wait(f"{paint} !== undefined")
        paints.append(float(browser.run(paint)))
        lists.append(float(browser.run("return performance.getEntriesByName('ready')[0].startTime")))
        filters += [timed(browser, text) for text in ("joon", "joon has 5", "")]
    medians = [round(statistics.median(each)) for each in (paints, lists, filters)]
    print(f"\n{large.stat().st_size / 1e6:.1f} MB; paint, list, filter: {medians} ms")
    assert statistics.median(paints) < 1000
    # All items unpacked and the list drawn; the scores stand long before.
    assert statistics.median(lists) < 2000
    assert statistics.median(filters) < 1000
    assert browser.run("return document.querySelectorAll('.row').length") < 60


def timed(browser: Browser, text: str) -> float:
    """Type a text into the search, and return the milliseconds until the list shows its result."""
    return float(browser.driver.execute_async_script(TYPED, text))


@pytest.mark.parametrize("answer", [HOSTILE, ODD, "x" * 1_000_000, "<think>so\nso</think>7"])
def test_a_hostile_answer_is_only_shown(browser: Browser, tmp_path: Path, answer: str) -> None:
    sample = Sample(item=HOSTILE, doc_id=0, value=0.0, prompt=answer, target=ODD, answer=answer, judged=answer)
    store = ResultStore(LocalStorage(tmp_path))
    url = written(tmp_path, save_run(store, "run", 0, f"v1{HOSTILE}", {f"task {HOSTILE}": [sample]}))
    browser.open(url)
    assert browser.driver.title.endswith("vllm-eval")
    assert browser.run("return document.querySelectorAll('img, main script').length") == 0
    assert browser.complaints() == []
    assert browser.requests() == [url]
    assert "\u202e" not in detail(browser)


def test_thoughts_are_folded(browser: Browser, tmp_path: Path) -> None:
    answer = "<think>Two and two are four.</think>The answer is 5."
    sample = Sample(item="1", doc_id=0, value=0.0, prompt="2 + 2?", target="4", answer=answer, judged="5")
    browser.open(written(tmp_path, save_run(ResultStore(LocalStorage(tmp_path)), "run", 0, "v1", {"task": [sample]})))
    assert browser.run("return document.querySelector('#item details').open") is False
    assert browser.run("return document.querySelector('#item .side > pre').textContent") == "The answer is 5."


def test_a_group_names_its_tasks_that_fell_and_leads_to_their_answers(browser: Browser, tmp_path: Path) -> None:
    names = [f"mmlu_subject_{index:02d}" for index in range(57)]
    store = ResultStore(LocalStorage(tmp_path))
    before = {name: samples(40, 0.8, index) for index, name in enumerate(names)}
    save_group(store, "before", 0, "v1", "mmlu", before)
    after = {name: samples(40, 0.1 if name.endswith("_07") else 0.8, index) for index, name in enumerate(names)}
    browser.open(written(tmp_path, save_group(store, "run", 1, "v2", "mmlu", after)))
    head = browser.run("return document.querySelector('.scores > tbody').textContent")
    assert "Fell most: mmlu_subject_07" in head
    assert "57 tasks of mmlu, those that lost most first" in head
    details = browser.driver.find_element(By.CSS_SELECTOR, ".why details")
    if not details.get_attribute("open"):
        details.find_element(By.TAG_NAME, "summary").click()
    assert len(details.find_elements(By.CSS_SELECTOR, ".leaves > table > tbody > tr")) == 57
    first = details.find_element(By.CSS_SELECTOR, ".leaves > table > tbody a")
    assert first.text == "mmlu_subject_07"
    first.click()
    browser.wait("return document.getElementById('find').value === 'mmlu_subject_07/'")
    browser.wait("return document.getElementById('count').textContent.length > 0")
    assert "mmlu_subject_07/" in detail(browser)
    assert browser.complaints() == []


def test_a_group_of_57_tasks_fits(browser: Browser, tmp_path: Path) -> None:
    tasks = {f"mmlu_subject_{index:02d}_{'x' * (index % 20)}": samples(60, 0.5, index) for index in range(57)}
    store = ResultStore(LocalStorage(tmp_path))
    save_run(store, "before", 0, "v1", tasks)
    browser.open(written(tmp_path, save_run(store, "run", 1, "v2", tasks)))
    assert browser.run("return document.querySelectorAll('tbody th').length") == 57
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.complaints() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Browser, drop: str, scheme: str) -> None:
    """4.5 to 1 at least: what WCAG 2.2 asks of text."""
    browser.scheme(scheme)
    try:
        browser.open(drop)
        low: list[Any] = browser.run(CONTRAST)
    finally:
        browser.scheme("light")
    assert low == []


# The list is painted when the frame after its change has been drawn.
TYPED = """
const [text, done] = arguments;
const find = document.getElementById('find');
const start = performance.now();
const watch = new MutationObserver(() => {
  watch.disconnect();
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
});
watch.observe(document.getElementById('tall'), {childList: true});
find.value = text;
find.dispatchEvent(new Event('input'));
"""
CONTRAST = """
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const linear = (part) => part <= 10 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const ground = (node) => {
  for (let each = node; each; each = each.parentElement) {
    const rgb = parse(getComputedStyle(each).backgroundColor);
    if ((rgb[3] ?? 1) > 0) return rgb;
  }
  return [255, 255, 255];
};
const low = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || node.closest('script, svg, noscript, option')) continue;
  const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) low.push([walker.currentNode.data.trim().slice(0, 40), Math.round(ratio * 100) / 100]);
}
return low;
"""
