"""What the documents say of alerts, series and commands is so."""

import base64
import contextlib
import http.client
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import monitoring
from monitoring.alerts import ALERTS
from tests.monitoring.support.contract import Run
from tests.monitoring.support.prometheus import start
from tests.support.ports import free_port
from vllm_eval import metrics

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
COMPARED = (ROOT / "docs" / "alerts-compared.md").read_text(encoding="utf-8")
SHELL = re.findall(r"```sh\n(.*?)```", RUNBOOK, re.DOTALL)
GREPS = sorted(set(re.findall(r"^curl -s localhost:9091/metrics \|.*$", RUNBOOK, re.MULTILINE)))


def test_the_list_of_alerts_is_complete() -> None:
    listed = re.findall(r"^\| (\w+) \| (critical|warning|info) \|", COMPARED, re.MULTILINE)
    assert sorted(listed) == sorted((alert.name, alert.severity) for alert in ALERTS)


def test_the_plain_rule_is_the_one_that_was_played() -> None:
    from tests.monitoring.simulation.play import ORIGIN

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


@pytest.mark.parametrize("script", SHELL)
def test_commands_are_shell(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 0, done.stderr


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


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("pushgateway")
    address = f"127.0.0.1:{free_port()}"
    run = Run("google/gemma-3-270m", "v1", "custom_task_1", 0.8, 1.0)
    text = "".join(f"{name} {value!r}\n" for name, value in run.series())
    command = ["prometheus-pushgateway", f"--web.listen-address={address}"]
    with (
        start(command, folder / "log", ready=f"http://{address}/-/ready"),
        contextlib.closing(http.client.HTTPConnection(address, timeout=10)) as connection,
    ):
        model = base64.urlsafe_b64encode(run.model.encode()).decode()
        group = f"/metrics/job/{metrics.PUSH_JOB}/stack/prod/model@base64/{model}"
        connection.request("PUT", group, text)
        assert connection.getresponse().status == 200
        yield address


@pytest.mark.parametrize("command", GREPS)
def test_a_command_on_the_gateway_finds_what_it_looks_for(pushed: str, command: str) -> None:
    variables = SHELL[0].splitlines()[0]
    script = f"{variables}\nset -o pipefail\n{command.replace('localhost:9091', pushed)}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    names = {re.split(r"[{ ]", line)[0] for line in done.stdout.splitlines()}
    [pattern] = re.findall(r"\^(\w+_?)\(([\w|]+)\)(_\w+)?|\^(vllm_eval_last_run_timestamp_seconds)", command)
    start_of, parts, end_of, whole = pattern
    assert names == ({whole} if whole else {f"{start_of}{part}{end_of}" for part in parts.split("|")})


def test_the_setting_of_a_baseline_is_spelled_as_the_settings_do() -> None:
    schema = (ROOT / "components" / "settings" / "model.py").read_text(encoding="utf-8")
    assert "baseline: Baseline | None" in schema
    assert "pulumi config set --path 'vllm-eval:models[0].baseline.run' RUN_ID" in RUNBOOK


def test_the_runbook_is_where_alerts_say() -> None:
    assert monitoring.RUNBOOK_URL.endswith("/docs/runbook.md")
