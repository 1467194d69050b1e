"""Addresses and names that people bookmark: they do not change."""

from typing import Final

DASHBOARD_UID: Final = "vllm-eval"
DASHBOARD_TITLE: Final = "vLLM evaluation"
DASHBOARD_PATH: Final = f"/d/{DASHBOARD_UID}"
"""Path of the dashboard below Grafana's own address."""

RUNBOOK_URL: Final = "https://github.com/vllm-eval/vllm-eval/blob/main/docs/runbook.md"
