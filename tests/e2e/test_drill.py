"""The regression drill: a real drop, a cure, a stop and an outage, from the model's answers to a webhook.

The shipped rules in a real Prometheus, with days of two minutes (`monitoring.day`),
and a real Alertmanager. `make drill` runs this alone and shows what happens when.
"""

import json
import re
import secrets
import subprocess
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from components import labels
from components.settings.check_report import HOSTNAME
from monitoring.recording import REFERENCE
from tests.e2e import benchmark, gitops, pods
from tests.e2e.conftest import asks_for_second_stack
from tests.e2e.endpoints import Endpoint
from tests.e2e.receiver import Notification, Receiver
from tests.support.monitoring.queries import alert_queries, panel_queries, rule_queries
from tests.support.report_page import Page, verdict_link
from vllm_eval import metrics
from workbench.cluster import evaluation, report
from workbench.cluster.kubectl import kubectl, query
from workbench.cluster.report import ScoreRow
from workbench.paths import REPOSITORY
from workbench.sandbox import stack
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import say, wait_for

pytestmark = pytest.mark.e2e

LIMIT: Final = 100  # below, a drop from 0.8 to 0.6 can be honestly inconclusive
# Task to items. The last is a group from a bundle.
TASKS: Final = {"custom_task_1": LIMIT, "custom_task_2": LIMIT, benchmark.GROUP: benchmark.ITEMS}
DAY: Final = "2m"
DAY_SECONDS: Final = 120
STALE_SECONDS: Final = 180  # 36 hours of such days
REGRESSIONS: Final = ("CustomTaskRegression", "EvaluationRegression")
# A push of the gateway to a notification: a scrape, two evaluations of rules, and Alertmanager's own pace.
NOTICE_SECONDS: Final = 45.0
# The same where a second stack is deployed beside it.
PATIENCE: Final = 120.0
# Who may open the reports, by the address that the alerts name.
ON_CALL: Final[dict[str, str]] = {"app": "on-call"}
READERS: Final = [{"namespace": "serving", "labels": ON_CALL}]
SERVICE: Final = f"{labels.NAMESPACE}/{labels.REPORT}:80"
REPORT_URL: Final = f"http://{labels.REPORT}.{labels.NAMESPACE}.svc.cluster.local"
OPEN: Final = """\
import sys, time, urllib.request
deadline = time.monotonic() + 60
while True:
    try:
        sys.stdout.write(urllib.request.urlopen({address!r}, timeout=5).read().decode())
        break
    except OSError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.2)
"""
TRY: Final = """\
import socket
for attempt in (lambda: open("/results/index.html", "a"), lambda: socket.create_connection({gateway!r}, timeout=2)):
    try:
        attempt()
        print("done")
    except OSError as error:
        print(error)
"""
# What these tasks on this server lack: leaves that fell, choices, thoughts, and a server that tells tokens and times.
OPTIONAL: Final = re.compile(
    "|".join(
        metric.name
        for metric in (
            metrics.LEAF_DROP, metrics.CHOICE_MASS, metrics.THINKING_RESPONSES,
            metrics.UNFINISHED_THOUGHTS, metrics.RESPONSE_TOKENS, metrics.OUTPUT_TOKENS_PER_SECOND,
            metrics.TIME_TO_FIRST_TOKEN_SECONDS, metrics.INTER_TOKEN_LATENCY_SECONDS,
        )
    )
)  # fmt: skip


@dataclass(frozen=True)
class Drill:
    """Two served models, of which one will change, and who hears of it."""

    sandbox: Sandbox
    drifting: Endpoint
    control: Endpoint
    receiver: Receiver

    @property
    def models(self) -> list[str]:
        """Names of both models."""
        return [self.drifting.name, self.control.name]

    def evaluate(self) -> None:
        """Push evaluation code and wait until its run has ended well and Prometheus has its scores."""
        began = time.monotonic()
        done = gitops.run_of(self.sandbox, gitops.push_evaluation(self.sandbox))
        assert done.failed is None
        say(f"  evaluated in {time.monotonic() - began:.0f} s\n{report.table(self.scores())}")

    def scores(self) -> list[ScoreRow]:
        """Return the scores in Prometheus."""
        return report.scores(self.sandbox, stack.NAME)

    def score(self, endpoint: Endpoint, task: str) -> float:
        """Return one of them."""
        (found,) = (each for each in self.scores() if (each.model, each.task) == (endpoint.name, task))
        return found.exact_match

    def has_references(self) -> bool:
        """Tell whether Prometheus has something to compare every score with."""
        references = query(self.sandbox, f'{REFERENCE.name}{{stack="{stack.NAME}"}}')
        known = {(labels["model"], labels["task"]) for labels, _ in references}
        return known >= {(model, task) for model in self.models for task in TASKS}

    def hears(self, alert: str, expected: Set[tuple[str, str]], *, seconds: float = PATIENCE) -> None:
        """Wait until an alert fires for these models and tasks, and say how long it took; no other may fire."""
        began = time.monotonic()
        wait_for(alert, lambda: self.receiver.firing(alert).keys() >= expected, seconds=seconds, interval=1)
        say(f"  {alert} arrives: {time.monotonic() - began:.0f} s")
        assert self.receiver.firing(alert).keys() == expected

    def opens(self, address: str) -> str:
        """Return the page at an address of the reports, as a pod sees it that may open them."""
        return pods.python(self.sandbox, OPEN.format(address=address), namespace="serving", labels=ON_CALL)

    def in_the_report(self, *command: str) -> str:
        """Run a command in the pod that serves the reports."""
        pod = ("-n", labels.NAMESPACE, "exec", f"deployment/{labels.REPORT}", "--")
        return kubectl(self.sandbox, *pod, *command)

    def hears_the_end(self, alert: str, *, seconds: float = PATIENCE) -> None:
        """Wait until an alert fires no more, and say how long it took."""
        began = time.monotonic()
        wait_for(f"the end of {alert}", lambda: not self.receiver.firing(alert), seconds=seconds, interval=1)
        say(f"  {alert} resolves: {time.monotonic() - began:.0f} s")


@pytest.fixture(scope="module")
def evaluated(sandbox: Sandbox, receiver: Receiver, request: pytest.FixtureRequest) -> Drill:
    """Two models with two good runs each."""
    suffix = secrets.token_hex(2)
    known = benchmark.answers()
    drifting, control = (Endpoint(sandbox, f"{name}-{suffix}", answers=known) for name in ("drifting", "control"))
    made = Drill(sandbox, drifting, control, receiver)
    for endpoint in (made.drifting, made.control):
        endpoint.start()
        endpoint.plan(accuracy=0.8)
    gitops.provide(sandbox, benchmark.COMMIT)
    benchmark.write(sandbox)
    before = evaluation.job(sandbox)
    say("\n• two models of accuracy 0.8, evaluated twice")
    models = [made.drifting.settings(), made.control.settings()]
    # The claim is one that a single node mounts: so the service is allowed on a node that is named.
    node = kubectl(sandbox, "get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    gitops.deploy(
        sandbox,
        models=models,
        evaluation={
            "limit": LIMIT,
            "endpoint_wait_seconds": 20,
            "pod": {"nodeSelector": {HOSTNAME: node}},
            "report": {"service": True, "readers": READERS},
            **benchmark.SETTINGS,
        },
        monitoring={"day": DAY, "report_url": REPORT_URL},
    )
    assert gitops.next_run(sandbox, before.uid if before else "").failed is None
    # From here on the stack stays as it is, and much of the time is waiting.
    if asks_for_second_stack(request.session.items):
        request.getfixturevalue("second_stack")
    made.evaluate()
    return made


@pytest.fixture(scope="module")
def drill(evaluated: Drill) -> Drill:
    """The same, with a history of more than a day of the rules."""
    # Once the rules are loaded and the scores are scraped it takes a day; the rest is for both.
    wait_for("the scores of the day before", evaluated.has_references, seconds=DAY_SECONDS + 120, interval=2)
    return evaluated


def test_the_reports_are_closed_to_others_and_their_pod_only_reads(evaluated: Drill) -> None:
    assert pods.reached(evaluated.sandbox, {SERVICE: True}, "serving", ON_CALL) == {SERVICE: True}
    for namespace, stranger in (("serving", {"app": "stranger"}), (labels.NAMESPACE, ON_CALL)):
        assert pods.reached(evaluated.sandbox, {SERVICE: False}, namespace, stranger) == {SERVICE: False}
    host, _, port = pods.address(evaluated.sandbox, f"{labels.NAMESPACE}/{labels.PUSHGATEWAY}:9091").partition(":")
    written, connected = evaluated.in_the_report("python", "-c", TRY.format(gateway=(host, int(port)))).splitlines()
    assert "Read-only file system" in written
    assert connected != "done"


def test_every_query_of_the_dashboard_and_the_rules_returns_data(drill: Drill) -> None:
    asked = panel_queries(stack.NAME, models=drill.models, tasks=list(TASKS))
    asked += rule_queries(stack.NAME, models=drill.models, day=DAY)
    assert len(asked) > 30
    answered = {each: bool(query(drill.sandbox, each.promql)) for each in asked}
    empty = [each.name for each, found in answered.items() if not found]
    assert empty == [each.name for each in answered if each.name in empty and OPTIONAL.search(each.promql)]
    # These have data only when something is wrong, but none may be an error.
    told = {each.name: query(drill.sandbox, each.promql) for each in alert_queries(stack.NAME, day=DAY)}
    assert not {name for name in REGRESSIONS if told[name]}, told


def test_a_drop_reaches_the_webhook_with_model_task_and_numbers(drill: Drill) -> None:
    before = {task: drill.score(drill.drifting, task) for task in TASKS}
    say("\n• the accuracy of one model falls to 0.6")
    drill.drifting.plan(accuracy=0.6)
    drill.evaluate()
    expected = {(drill.drifting.name, task) for task in TASKS}
    for alert in REGRESSIONS:
        drill.hears(alert, expected)
    for task in TASKS:
        now = drill.score(drill.drifting, task)
        assert now < 0.9 * before[task]
        for alert in REGRESSIONS:
            check_numbers(drill.receiver.firing(alert)[drill.drifting.name, task], task, [now, before[task]])
    severities = {each.labels["severity"] for alert in REGRESSIONS for each in drill.receiver.firing(alert).values()}
    assert severities == {"warning", "critical"}


def check_numbers(told: Notification, task: str, shares: Sequence[float]) -> None:
    """Demand that a notification can be understood without looking anything up."""
    text = told.annotations["description"]
    for word in (
        told.labels["model"],
        task,
        f"{TASKS[task]} items",
        *(f"{each * 100:.4g}%" for each in shares),
    ):
        assert word in text, (word, text)
    if task == benchmark.GROUP and told.labels["alertname"] == "EvaluationRegression":
        assert re.search(rf"{benchmark.GROUP}_\w+ \(by \d", text), text
    assert told.labels["alertname"].lower() in told.annotations["runbook_url"]
    assert told.labels["model"] in told.annotations["dashboard_url"]


def test_two_clicks_or_one_command_lead_from_the_alert_to_the_first_answer_that_flipped(drill: Drill) -> None:
    began = time.monotonic()
    told = drill.receiver.firing("CustomTaskRegression")[drill.drifting.name, "custom_task_1"]
    task = told.labels["task"]
    index = told.annotations["report_url"]
    report_page = verdict_link(index, drill.opens(index), task)
    flipped = (row for row in Page(drill.opens(report_page).encode()).rows(task) if row[7] > row[1])
    item, _, prompt, target, answer, _, _, _, before, *_ = next(flipped)
    say(f"  from the alert to {item}, which flipped: {time.monotonic() - began:.0f} s")

    rows = (REPOSITORY / f"eval/evalchemy/data/{task}.jsonl").read_text().splitlines()
    asked = json.loads(rows[int(item.partition("-")[0])])
    assert asked["question"] in prompt
    assert target == asked["answer"]
    assert prompt in drill.drifting.prompts()
    assert drill.drifting.answer(prompt) == answer != before
    drill.drifting.plan(accuracy=0.8)
    assert drill.drifting.answer(prompt) == before

    words = ("vllm-eval", "report", f"--model={drill.drifting.name}", f"--task={task}", "--wrong=1")
    first = drill.in_the_report(*words).split(" became wrong\n")[1].splitlines()[1]
    assert first.split()[:5] == [item, target, answer, before, answer]


def test_the_alerts_resolve_when_the_score_is_back(drill: Drill) -> None:
    say("\n• its accuracy is 0.8 again")
    drill.drifting.plan(accuracy=0.8)
    drill.evaluate()
    for alert in REGRESSIONS:
        drill.hears_the_end(alert)
        assert {key[0] for key in drill.receiver.state(alert)} == {drill.drifting.name}


def test_data_that_changed_begins_a_new_baseline_and_alerts_nobody(drill: Drill) -> None:
    say("\n• the hub's data set has other answers")
    benchmark.write(drill.sandbox, shift=1)
    drill.evaluate()
    # No answer is right by the new data: a drop by every rule, were it one.
    assert [drill.score(model, benchmark.GROUP) for model in (drill.drifting, drill.control)] == [0.0, 0.0]
    for model in drill.models:
        newest = max(gitops.runs(drill.sandbox, model).values(), key=lambda run: run["started"])
        said = newest["tasks"][benchmark.GROUP]["comparison"]["reason"]
        assert f"the data changed: {benchmark.DATA_SET}" in said
    time.sleep(NOTICE_SECONDS)
    assert not any(drill.receiver.firing(alert) for alert in REGRESSIONS)


def test_a_stopped_evaluation_is_told(drill: Drill) -> None:
    say("\n• nothing evaluates any more")
    expected = {(model, "") for model in drill.models}
    drill.hears("EvaluationStale", expected, seconds=STALE_SECONDS + PATIENCE)
    assert "ago" in drill.receiver.firing("EvaluationStale")[drill.drifting.name, ""].annotations["description"]


def test_a_dead_endpoint_is_told_and_no_score_moves(drill: Drill) -> None:
    before = drill.scores()
    assert len(before) == len(drill.models) * len(TASKS)
    say("\n• one model's endpoint dies")
    drill.drifting.plan(down=True)
    gitops.push_evaluation(drill.sandbox)
    expected = {(drill.drifting.name, task) for task in TASKS}
    drill.hears("EvaluationFailed", expected, seconds=150)
    drill.hears_the_end("EvaluationStale", seconds=150)
    assert drill.scores() == before
    assert not any(drill.receiver.firing(alert) for alert in REGRESSIONS)


def test_a_second_stack_passes_its_tests_beside_it(second_stack: tuple["subprocess.Popen[bytes]", Path]) -> None:
    process, printed = second_stack
    code = process.wait(timeout=1200)
    print(printed.read_text())
    assert code == 0
