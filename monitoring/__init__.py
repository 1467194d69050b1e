"""Alert rules and dashboard of vllm-eval, as data.

Everything is made from the metric contract (`vllm_eval.metrics`) and one table
of thresholds. Nothing here knows Pulumi or Kubernetes: components wrap what
this package returns.
"""

from monitoring.dashboard import HEADLINE_QUERY, committed_dashboard, dashboard_json
from monitoring.names import DASHBOARD_PATH, DASHBOARD_TITLE, DASHBOARD_UID, RUNBOOK_URL
from monitoring.rules import rule_groups, rules_file

__all__ = [
    "DASHBOARD_PATH",
    "DASHBOARD_TITLE",
    "DASHBOARD_UID",
    "HEADLINE_QUERY",
    "RUNBOOK_URL",
    "committed_dashboard",
    "dashboard_json",
    "rule_groups",
    "rules_file",
]
