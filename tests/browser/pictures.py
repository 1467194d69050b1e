"""Takes the pictures of the documentation: `make pictures`."""

import html
import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import monitoring
from monitoring.notices import GROUP_BY, SLACK
from tests.support.alertmanager import post, running_alertmanager
from tests.support.browser import Browser, chromium
from tests.support.monitoring.contract import Run
from tests.support.monitoring.drawn import draw
from tests.support.monitoring.history import fortnight
from tests.support.monitoring.prometheus import gateway, serve, wait_for, write_history
from tests.support.monitoring.promtool import write_rules
from tests.support.report_runs import MODEL, STACK, history
from tests.support.sandbox_door import Answering, open_door
from tests.support.webhook import Webhook
from vllm_eval.metrics import REGRESSION_PVALUE
from vllm_eval.pages.run_page import render_run
from vllm_eval.pages.words import Words
from vllm_eval.results import ResultStore
from vllm_eval.storage import LocalStorage
from workbench.paths import REPOSITORY, cache_dir

FOLDER: Final = REPOSITORY / "docs/images"
# As a chat shows it; the words and links are what Alertmanager sent.
ALERT: Final = """<!doctype html><meta charset=utf-8><title>#on-call</title><style>
body { margin: 0; padding: 24px 32px; background: #fff; color: #1d1c1d; }
body { font: 17px/1.5 system-ui, "Noto Sans CJK KR", sans-serif; }
article { margin: 0 0 22px; padding: 2px 0 2px 16px; border-left: 5px solid #b3261e; } h1 { font-size: 19px; }
h2 { margin: 0 0 6px; font-size: 17px; } p { margin: 0; } a { color: #1264a3; text-decoration: none; }
</style><h1># on-call</h1>"""
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
            _alert(browser, folder)
            browser.size(1180, 900)
            with open_door(Answering(folder / "sandbox").with_reports()) as url:
                browser.open(f"{url}/", ready=COMPLETE)
                browser.picture(FOLDER / "sandbox.webp")


def _report(browser: Browser, folder: Path) -> None:
    run = history(folder / "results")
    store = ResultStore(LocalStorage(folder / "results"))
    page = folder / "page.html"
    browser.size(1180, 1240)
    for scheme, language, name in (
        ("dark", "en", "report-dark.webp"),
        ("light", "ko", "report-ko.webp"),
        ("light", "en", "report.webp"),
    ):
        page.write_bytes(render_run(store, store.runs(STACK, MODEL), run, t=Words(language)))
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


def _alert(browser: Browser, folder: Path) -> None:
    """Draw what Slack gets of one alert, in both languages: from Prometheus through Alertmanager, all of them real."""
    messages = [_message(folder / language, language) for language in ("en", "ko")]
    page = folder / "alert.html"
    page.write_text(ALERT + "".join(map(_drawn, messages)), encoding="utf-8")
    browser.size(1180, 470)
    browser.open(page.as_uri(), ready=COMPLETE)
    browser.picture(FOLDER / "alert.webp")


def _message(folder: Path, language: str) -> dict[str, Any]:
    folder.mkdir()
    run = Run("google/gemma-3-27b-it", "v2", "custom_task_1", 0.66, time.time(), baseline=0.784, verdict="worse")
    groups = monitoring.rule_groups(
        stack="prod", models=[run.model], day="2m", language=language, report_url="https://reports.example.com",
        dashboard_url="https://grafana.example.com/d/vllm-eval",
    )  # fmt: skip
    rules = write_rules(folder / "rules.json", groups)
    slack = Webhook()
    with (
        gateway() as page,
        serve(folder, rules=[rules], targets=[page.address]) as prometheus,
        slack.listen() as hook,
        running_alertmanager(folder, _config(hook)) as manager,
    ):
        shown = ((series, value) for series, value in run.series() if not series.startswith("vllm_eval_leaf_"))
        page.text = "".join(
            f"{series} {1e-6 if series.startswith(REGRESSION_PVALUE.name) else value!r}\n" for series, value in shown
        )

        def fires() -> bool:
            return prometheus.alerts().get("EvaluationRegression", {}).get("state") == "firing"

        wait_for("the alert", fires, seconds=60)
        alert = prometheus.alerts()["EvaluationRegression"]
        post(manager, alert["labels"], annotations=alert["annotations"])
        [attachment] = slack.messages.get(timeout=60)["attachments"]
        return dict(attachment)


def _config(hook: str) -> str:
    """Return what sends our messages to a page, with their fields named as Alertmanager's own file names them."""
    message = {re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name): text for name, text in SLACK.items()}
    slack = {"api_url": hook, "channel": "#model-quality", "send_resolved": True, **message}
    route = {"receiver": "slack", "group_by": list(GROUP_BY), "group_wait": "1s"}
    return json.dumps({"route": route, "receivers": [{"name": "slack", "slack_configs": [slack]}]})


def _drawn(message: dict[str, Any]) -> str:
    text = re.sub(r"&lt;(\S+?)\|(.*?)&gt;", r'<a href="\1">\2</a>', html.escape(message["text"].strip(), quote=False))
    return f"<article><h2><a href='#'>{html.escape(message['title'])}</a></h2><p>{text}</p></article>"


if __name__ == "__main__":
    main()
