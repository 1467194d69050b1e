"""Rule groups for Prometheus, for one stack or, as a plain file, for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from monitoring.alerts import ALERTS, Alert
from monitoring.korean import KOREAN
from monitoring.names import DASHBOARD_PATH, RUNBOOK_URL, RUNBOOK_URLS
from monitoring.promql import ANY_STACK, own_stack
from monitoring.recording import run_rules, score_rules
from monitoring.texts import ENGLISH, dashboard_link, fill, report_link
from monitoring.thresholds import DAY, STALE, Thresholds, Windows, duration
from vllm_eval.metrics import EXPECTED

LIMITS: Final = Thresholds()
_LONG: Final = 60

_HEADER: Final = """\
# Alert rules of vllm-eval for every stack of one Prometheus. A plain rules file:
#   promtool check rules monitoring/alert-rules.yaml
# Made by `python -m monitoring` from alerts.py, recording.py and thresholds.py; edit those.
# A stack installs the same rules for itself alone, as the PrometheusRule `vllm-eval`,
# with the list of its models: load this file only where no stack does so.
"""


@dataclass(frozen=True)
class Annotations:
    """The links of an alert and the language of its texts; it links to the reports only if they have an address."""

    runbook: str = RUNBOOK_URL
    dashboard: str = DASHBOARD_PATH
    report: str | None = None
    language: str = ENGLISH


def rule_groups(
    *,
    stack: str,
    models: Sequence[str],
    day: str = DAY,
    stale: str = STALE,
    scrape: int = 5,
    runbook_url: str | None = None,
    dashboard_url: str = DASHBOARD_PATH,
    report_url: str | None = None,
    language: str = ENGLISH,
) -> list[dict[str, Any]]:
    """Return the ``groups`` of a PrometheusRule's ``spec`` for one stack.

    Every selector names the stack, so that the rules of several stacks in one
    Prometheus double no alert.

    Parameters
    ----------
    stack
        Label ``stack`` of the series, as the runner pushes it.
    models
        Label ``model`` of every model in the settings; each is missed when it does not run.
    day
        Length of the day before. Anything but ``24h`` is for drills: all windows shrink in proportion.
    stale
        Age of the last run at which the next one is missed: one and a half times what lies between two runs.
        It shrinks with `day` like all others.
    scrape
        Seconds between two scrapes of the gateway.
    runbook_url
        Address of the runbook, without a fragment; default: the project's, in `language`.
    dashboard_url
        Address of the dashboard, without a query; the default is a path below Grafana's address.
    report_url
        Address below which the results' ``index.html`` is served.
    language
        Of summary and description: ``en`` or ``ko``. Names stay as they are.

    Raises
    ------
    ValueError
        If a model is listed twice, the stack has no name, `day` is not between two minutes and 24 h,
        or `stale` is below 6 h.
    """
    if not stack:
        raise ValueError("stack is empty: alert rules need the stack's name to select its series")
    twice = sorted({model for model in models if list(models).count(model) > 1})
    if twice:
        raise ValueError(
            f"models lists {', '.join(twice)} more than once: a model has one series by name; remove the second"
        )
    windows = Windows.scaled(day, stale, scrape)
    interval = duration(windows.interval)
    expected = [
        {"record": EXPECTED.name, "expr": "vector(1)", "labels": {"stack": stack, "model": model}} for model in models
    ]
    told = Annotations(runbook_url or RUNBOOK_URLS[language], dashboard_url, report_url, language)
    groups = make_groups(own_stack(stack), windows, told)
    return [*([{"name": "vllm-eval-expected", "interval": interval, "rules": expected}] if expected else []), *groups]


def rules_file() -> str:
    """Return the text of ``alert-rules.yaml``: the same rules for every stack, without expected models."""
    groups = make_groups(ANY_STACK, Windows.scaled())
    return _HEADER + yaml.dump({"groups": groups}, Dumper=_Dumper, sort_keys=False, width=80, allow_unicode=True)


def make_groups(stack: str, windows: Windows, told: Annotations = Annotations()) -> list[dict[str, Any]]:
    """Return the groups for a matcher of stacks and a table of windows; `rule_groups` is for everyday use."""
    recorded = {"scores": score_rules(stack, LIMITS, windows), "runs": run_rules(stack)}
    return [
        {
            "name": f"vllm-eval-{group}",
            "interval": duration(windows.interval),
            "rules": rules + [_rule(a, stack, windows, told) for a in ALERTS if a.group == group],
        }
        for group, rules in recorded.items()
    ]


def _rule(alert: Alert, stack: str, windows: Windows, told: Annotations) -> dict[str, Any]:
    summary, description = KOREAN[alert.name] if told.language != ENGLISH else (alert.summary, alert.description)
    report = {"report_url": report_link(told.report)} if told.report is not None else {}
    return {
        "alert": alert.name,
        "expr": alert.expr(stack, LIMITS, windows),
        "for": duration(windows.unsettled if alert.unsettled else windows.hold),
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": fill(summary, LIMITS, windows, told.language),
            "description": fill(description, LIMITS, windows, told.language),
            "runbook_url": f"{told.runbook}#{alert.name.lower()}",
            "dashboard_url": dashboard_link(told.dashboard, by_task=alert.by_task),
            **report,
        },
    }


class _Dumper(yaml.SafeDumper):
    """Writes expressions as blocks, one condition a line."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 (PyYAML's signature)
        """Indent lists below their key, as yamllint asks."""
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Texts are folded; expressions keep their lines.
    style = ">" if "{{" in text else "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style if len(text) > _LONG else None)


_Dumper.add_representer(str, _text)
