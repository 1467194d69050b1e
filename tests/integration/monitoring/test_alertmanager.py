"""The routing example for Slack, loaded by a real Alertmanager that sends to a page of the test."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.monitoring.alertmanager import EXAMPLE, Slack, post, running_alertmanager

ANNOTATIONS = {
    "summary": "fell",
    "description": "t of m fell to 60%",
    "runbook_url": "https://runbook#x",
    "dashboard_url": "https://grafana/d/vllm-eval?var-model=m",
    "report_url": "https://reports/index.html#prod/org%2Fm",
}


def _amtool(*arguments: str) -> str:
    done = subprocess.run(["amtool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_alertmanager_takes_the_example() -> None:
    assert "SUCCESS" in _amtool("check-config", str(EXAMPLE))


@pytest.mark.parametrize(
    ("alert", "severity", "receiver"),
    [
        ("EvaluationRegression", "critical", "on-call"),
        ("CustomTaskRegression", "warning", "team"),
        ("EvaluationStale", "warning", "team"),
        ("EvaluationNoBaseline", "info", "nobody"),
        ("SomebodyElses", "critical", "nobody"),
    ],
)
def test_routes(alert: str, severity: str, receiver: str) -> None:
    labels = [f"alertname={alert}", f"severity={severity}", "stack=prod", "model=m"]
    assert _amtool("config", "routes", "test", f"--config.file={EXAMPLE}", *labels) == receiver


@pytest.fixture
def slack() -> Slack:
    return Slack()


@pytest.fixture
def manager(tmp_path: Path, slack: Slack) -> Iterator[str]:
    with running_alertmanager(tmp_path, slack) as address:
        yield address


WORSE = {"alertname": "EvaluationRegression", "severity": "critical", "task": "t"}
FELL = {"alertname": "CustomTaskRegression", "severity": "warning", "task": "t"}
ELSEWHERE = {"alertname": "CustomTaskRegression", "severity": "warning", "task": "other"}


def test_what_slack_gets(manager: str, slack: Slack) -> None:
    post(manager, WORSE, FELL, annotations=ANNOTATIONS)
    message = slack.messages.get(timeout=60)
    assert message["channel"] == "#on-call"
    [attachment] = message["attachments"]
    assert attachment["title"] == "EvaluationRegression, m in prod"
    assert attachment["title_link"] == "https://runbook#x"
    assert attachment["text"] == (
        "• t of m fell to 60% <https://grafana/d/vllm-eval?var-model=m|Dashboard>"
        " <https://reports/index.html#prod/org%2Fm|Answers>\n"
    )
    assert attachment["color"] == "danger"

    # The lesser alert of the same task was inhibited; that of another task is not.
    post(manager, WORSE, FELL, ELSEWHERE, annotations=ANNOTATIONS)
    message = slack.messages.get(timeout=60)
    assert (message["channel"], message["attachments"][0]["color"]) == ("#model-quality", "warning")
    assert message["attachments"][0]["text"].count("•") == 1

    post(manager, WORSE, FELL, ELSEWHERE, annotations=ANNOTATIONS, ended=True)
    ends = [slack.messages.get(timeout=60) for _ in range(2)]
    titles = {message["channel"]: message["attachments"][0]["title"] for message in ends}
    assert titles == {
        "#on-call": "Resolved: EvaluationRegression, m in prod",
        "#model-quality": "Resolved: CustomTaskRegression, m in prod",
    }
    assert all(message["attachments"][0]["color"] == "good" for message in ends)
