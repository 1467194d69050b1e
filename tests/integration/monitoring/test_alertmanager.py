"""Who is told: what the real operator makes of the stack's AlertmanagerConfig beside a team's own routes, and what a
real Alertmanager then sends to a page of the test.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support import program
from tests.support.alertmanager import post, running_alertmanager
from tests.support.apiserver import ApiServer, running_apiserver
from tests.support.clusters import namespace
from tests.support.operator import add_alertmanager, generated, running_operator
from tests.support.webhook import Webhook

ANNOTATIONS = {
    "summary": "fell",
    "description": "t of m fell to 60%",
    "runbook_url": "https://runbook#x",
    "dashboard_url": "https://grafana/d/vllm-eval?var-model=m",
    "report_url": "https://reports/index.html#prod/org%2Fm",
}
# As kube-prometheus-stack has it, and a route that a team added.
THEIRS: Final = """\
route:
  receiver: theirs
  group_by: [namespace]
  routes:
    - {receiver: "null", matchers: ['alertname = "Watchdog"']}
    - {receiver: pager, matchers: ['severity = "critical"']}
receivers: [{name: theirs}, {name: pager}, {name: "null"}]
"""
RECEIVERS: Final = [
    {"name": "team", "kind": "slack", "channel": "#model-quality", "severities": ["warning"]},
    {"name": "on-call", "kind": "slack", "url": {"secret": "on-call", "key": "url"}, "severities": ["critical"]},
    {"name": "archive", "kind": "webhook"},
]


def _stack(hook: str, stack: str = "prod", **groups: object) -> program.Stack:
    base = program.stack_file("prod")
    monitoring = {"monitoring": {"receivers": RECEIVERS}}
    return program.run({**base, **monitoring, **groups}, {"receiver-team": hook, "receiver-archive": hook}, stack)


def _amtool(*arguments: str) -> str:
    done = subprocess.run(["amtool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def slack() -> Iterator[Webhook]:
    page = Webhook()
    with page.listen():
        yield page


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, slack: Webhook) -> Iterator[ApiServer]:
    """A cluster with a team's two Alertmanagers, the operator, and the receivers of two stacks."""
    folder = tmp_path_factory.mktemp("server")
    with running_apiserver(folder) as running, running_operator(running, folder):
        for name in ("vllm-eval", "second"):
            running.apply(namespace(name))
            secret = {"apiVersion": "v1", "kind": "Secret", "stringData": {"url": slack.url}}
            running.apply({**secret, "metadata": {"name": "on-call", "namespace": name}})
        for stack in (_stack(slack.url), _stack(slack.url, "second", evaluation={"namespace": "second"})):
            running.apply(stack.one("Secret", "vllm-eval-receivers").inputs, stack.one("AlertmanagerConfig").inputs)
        add_alertmanager(running, "main", THEIRS)
        add_alertmanager(running, "all", THEIRS, alertmanagerConfigMatcherStrategy={"type": "None"})
        yield running


@pytest.fixture(scope="module", params=["main", "all"])
def config(server: ApiServer, request: pytest.FixtureRequest) -> str:
    """Return what the operator writes by default, and where no namespace is asked for."""
    generated(server, request.param, "second/vllm-eval/archive")
    return generated(server, request.param, "vllm-eval/vllm-eval/archive")


@pytest.fixture
def file(config: str, tmp_path: Path) -> Path:
    path = tmp_path / "alertmanager.yaml"
    path.write_text(config, encoding="utf-8")
    return path


def test_alertmanager_takes_what_the_operator_makes_of_it(file: Path) -> None:
    assert "SUCCESS" in _amtool("check-config", str(file))


OURS: Final = "vllm-eval/vllm-eval/"


@pytest.mark.parametrize(
    ("alert", "severity", "told"),
    [
        # What the team routes for itself is told besides, and the root's receiver only where no route is.
        ("EvaluationRegression", "critical", [f"{OURS}on-call", f"{OURS}archive", "pager"]),
        ("CustomTaskRegression", "warning", [f"{OURS}team", f"{OURS}archive"]),
        ("EvaluationStale", "warning", [f"{OURS}team", f"{OURS}archive"]),
        ("EvaluationNoBaseline", "info", [f"{OURS}Nobody"]),
        ("SomebodyElses", "critical", ["pager"]),
        ("SomebodyElses", "warning", ["theirs"]),
    ],
)
def test_our_alerts_reach_our_receivers_and_no_others_do(
    file: Path, alert: str, severity: str, told: list[str]
) -> None:
    rules = _stack("http://h").one("PrometheusRule").inputs["spec"]["groups"]
    labels = {"namespace": "vllm-eval"}
    for rule in [rule for group in rules for rule in group["rules"] if rule.get("alert") == alert]:
        labels = rule["labels"]
        assert labels["severity"] == severity
    words = [f"{key}={value}" for key, value in {**labels, "alertname": alert, "severity": severity}.items()]
    routed = _amtool("config", "routes", "test", f"--config.file={file}", *words, "stack=prod", "model=m")
    assert routed.split(",") == told


def test_an_alert_without_the_label_namespace_arrives_only_where_none_is_asked_for(
    server: ApiServer, tmp_path: Path
) -> None:
    words = ["alertname=EvaluationStale", "severity=warning", "stack=prod", "model=m"]
    told = {}
    for name in ("main", "all"):
        path = tmp_path / name
        path.write_text(generated(server, name, "vllm-eval/vllm-eval/archive"), encoding="utf-8")
        told[name] = _amtool("config", "routes", "test", f"--config.file={path}", *words)
    assert told == {"main": "theirs", "all": f"{OURS}team,{OURS}archive"}


def test_the_team_keeps_its_own_routes(config: str) -> None:
    theirs, made = yaml.safe_load(THEIRS), yaml.safe_load(config)
    assert made["route"]["receiver"] == "theirs"
    assert made["route"]["routes"][-2:] == theirs["route"]["routes"]
    assert [each for each in made["receivers"] if "/" not in each["name"]] == theirs["receivers"]


@pytest.fixture
def manager(server: ApiServer, tmp_path: Path) -> Iterator[str]:
    text = generated(server, "main", "vllm-eval/vllm-eval/archive")
    for shipped, here in (("group_wait: 1m", "group_wait: 1s"), ("group_interval: 10m", "group_interval: 1s")):
        assert shipped in text
        text = text.replace(shipped, here)
    with running_alertmanager(tmp_path, text) as address:
        yield address


WORSE = {"alertname": "EvaluationRegression", "severity": "critical", "task": "t"}
FELL = {"alertname": "CustomTaskRegression", "severity": "warning", "task": "t"}
ELSEWHERE = {"alertname": "CustomTaskRegression", "severity": "warning", "task": "other"}


def _messages(slack: Webhook, count: int) -> dict[str, dict[str, Any]]:
    """Return the next messages, by channel; a Slack address of one channel alone, and a webhook, name none."""
    found = [slack.messages.get(timeout=60) for _ in range(count)]
    return {each.get("channel", "on-call" if "attachments" in each else "webhook"): each for each in found}


def test_what_slack_and_a_webhook_get(manager: str, slack: Webhook) -> None:
    post(manager, WORSE, FELL, annotations=ANNOTATIONS)
    told = _messages(slack, 2)
    assert told.keys() == {"on-call", "webhook"}
    [attachment] = told["on-call"]["attachments"]
    assert attachment["title"] == "EvaluationRegression, m in prod"
    assert attachment["title_link"] == "https://runbook#x"
    assert attachment["text"] == (
        "• t of m fell to 60% <https://grafana/d/vllm-eval?var-model=m|Dashboard>"
        " <https://reports/index.html#prod/org%2Fm|Answers>\n"
    )
    assert attachment["color"] == "danger"
    assert [each["labels"]["alertname"] for each in told["webhook"]["alerts"]] == ["EvaluationRegression"]

    # The lesser alert of the same task was inhibited; that of another task is not.
    post(manager, WORSE, FELL, ELSEWHERE, annotations=ANNOTATIONS)
    told = _messages(slack, 2)
    assert told.keys() == {"#model-quality", "webhook"}
    [attachment] = told["#model-quality"]["attachments"]
    assert (attachment["color"], attachment["text"].count("•")) == ("warning", 1)

    post(manager, WORSE, FELL, ELSEWHERE, annotations=ANNOTATIONS, ended=True)
    ends = [slack.messages.get(timeout=60) for _ in range(4)]
    titles = {each["attachments"][0]["title"] for each in ends if "attachments" in each}
    assert titles == {"Resolved: EvaluationRegression, m in prod", "Resolved: CustomTaskRegression, m in prod"}
    assert all(each["attachments"][0]["color"] == "good" for each in ends if "attachments" in each)
    assert [each["status"] for each in ends if "alerts" in each] == ["resolved", "resolved"]


def test_a_dashboard_without_an_address_is_no_link(manager: str, slack: Webhook) -> None:
    annotations = {"description": ANNOTATIONS["description"], "dashboard_url": "/d/vllm-eval"}
    post(manager, {**WORSE, "task": "bare", "model": "other"}, annotations=annotations)
    [attachment] = _messages(slack, 2)["on-call"]["attachments"]
    assert attachment["text"] == "• t of m fell to 60%\n"
