"""Which alerts become a message, how they are grouped, and the text of a message; `alerts.py` has the alerts."""

from typing import Final

ALERTS: Final = "CustomTaskRegression|Evaluation.+"
"""Regular expression of the alerts' names; a label `stack` goes with each."""

# One message for each alert and model, however many of its tasks it concerns.
GROUP_BY: Final = ("alertname", "stack", "model")
GROUP_WAIT: Final = "1m"
GROUP_INTERVAL: Final = "10m"
REPEAT_INTERVAL: Final = "1d"

INHIBITED: Final = (
    # The paired comparison tells the same with more detail.
    ("EvaluationRegression", "CustomTaskRegression"),
    # The score is of a run before the task changed, and stays so until a run passes.
    ("EvaluationFailed", "EvaluationSamplesMissing"),
)
"""Pairs of an alert, and of the one that it silences for the same `INHIBITED_BY`."""
INHIBITED_BY: Final = ("stack", "task", "model")

_OF: Final = (
    "{{ .CommonLabels.alertname }}{{ with .CommonLabels.model }}, {{ . }}{{ end }} in {{ .CommonLabels.stack }}"
)
_COLOR: Final = '{{ else if eq .CommonLabels.severity "critical" }}danger{{ else }}warning{{ end }}'
# Without `monitoring.dashboard_url` the annotation is a path, which is no link in Slack.
_DASHBOARD: Final = '{{ if match "^https?://" .Annotations.dashboard_url }}'
SLACK: Final = {
    "title": f'{{{{ if eq .Status "resolved" }}}}Resolved: {{{{ end }}}}{_OF}',
    "titleLink": "{{ .CommonAnnotations.runbook_url }}",
    "text": (
        "{{ range .Alerts }}• {{ .Annotations.description }}"
        f"{_DASHBOARD} <{{{{ .Annotations.dashboard_url }}}}|Dashboard>{{{{ end }}}}"
        "{{ with .Annotations.report_url }} <{{ . }}|Answers>{{ end }}\n{{ end }}"
    ),
    "color": f'{{{{ if eq .Status "resolved" }}}}good{_COLOR}',
    "fallback": _OF,
}
"""Alertmanager's templates of a message in Slack, by the fields of an AlertmanagerConfig."""
