"""What the documents say of alerts, series and commands is so."""

import re
from pathlib import Path

import pydantic
import pytest
import yaml

import monitoring
from components.settings.model import Evaluation
from components.settings.monitored import Monitoring
from monitoring.alerts import ALERTS
from tests.support.monitoring import board
from vllm_eval import metrics

ROOT = Path(__file__).parents[3]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
COMPARED = (ROOT / "docs" / "alerts-compared.md").read_text(encoding="utf-8")

GROUPS: dict[str, type[pydantic.BaseModel]] = {"evaluation": Evaluation, "monitoring": Monitoring}


def test_the_list_of_alerts_is_complete() -> None:
    listed = re.findall(r"^\| (\w+) \| (critical|warning|info) \|", COMPARED, re.MULTILINE)
    assert sorted(listed) == sorted((alert.name, alert.severity) for alert in ALERTS)


def test_the_plain_rule_is_the_one_that_was_played() -> None:
    from tests.support.simulation.play import ORIGIN

    [quoted] = re.findall(r"```yaml\n(.*?)```", COMPARED, re.DOTALL)
    assert yaml.safe_load(quoted) == [{**ORIGIN, "alert": "CustomTaskRegression"}]


@pytest.mark.parametrize("text", [RUNBOOK, COMPARED], ids=["runbook", "alerts-compared"])
def test_series_are_of_the_contract(text: str) -> None:
    known = {metric.name for metric in (*metrics.METRICS, metrics.EXPECTED)}
    for name in re.findall(r"(?<![\w:])vllm_eval_\w+", text):
        assert name in known, name


@pytest.mark.parametrize("text", [RUNBOOK, COMPARED], ids=["runbook", "alerts-compared"])
def test_links_lead_somewhere(text: str) -> None:
    for target, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", text):
        page = (ROOT / "docs" / target).read_text(encoding="utf-8") if target else text
        if anchor:
            headings = [
                re.sub(r"[^\w -]", "", head).strip().lower().replace(" ", "-")
                for head in re.findall(r"^#+ (.*)$", page, re.MULTILINE)
            ]
            assert anchor in headings, f"{target}#{anchor}"


def test_names_in_the_cluster_are_the_real_ones() -> None:
    manifests = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "k8s").glob("*.yaml")))
    table = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for kind, name in (
        ("CronJob", "evalchemy-nightly"),
        ("Job", "evalchemy"),
    ):
        assert re.search(rf"kind: {kind}\nmetadata:\n  name: {name}\n", manifests)
        assert f"{kind.lower()}/{name}" in RUNBOOK or f"{kind.lower()} {name}" in RUNBOOK
    assert "app.kubernetes.io/name: evalchemy\n" in manifests
    for name in ("vllm-eval-pushgateway", "vllm-eval-results", "vllm-evalchemy-job"):
        assert f"`{name}`" in table
        assert name in RUNBOOK
    used = set(re.findall(r"-n ([\w-]+)", RUNBOOK))
    assert used == {"vllm-eval", "argocd"}


def test_panels_that_the_runbook_names_are_on_the_dashboard() -> None:
    named = set(re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", RUNBOOK.replace("\n", " ")))
    elsewhere = {"Accept", "Targets"}  # a paragraph of the runbook, a page of Prometheus
    shown = {title for title, _, _ in board.queries(board.load())}
    assert elsewhere < named
    assert named - elsewhere <= shown


@pytest.mark.parametrize("text", [RUNBOOK, COMPARED], ids=["runbook", "alerts-compared"])
def test_settings_are_spelled_as_the_program_does(text: str) -> None:
    named = set(re.findall(r"`((?:evaluation|monitoring)\.[a-z_.]+)`", text))
    assert named
    for setting in named:
        name, *keys = setting.split(".")
        group: type[pydantic.BaseModel] = GROUPS[name]
        for key in keys:
            assert key in group.model_fields, setting
            inner = group.model_fields[key].annotation
            group = inner if isinstance(inner, type) and issubclass(inner, pydantic.BaseModel) else pydantic.BaseModel


def test_the_runbook_is_where_alerts_say() -> None:
    assert monitoring.RUNBOOK_URL.endswith("/docs/runbook.md")
