"""Addresses and names that people bookmark: they do not change."""

from collections.abc import Mapping
from typing import Final

DASHBOARD_UID: Final = "vllm-eval"
DASHBOARD_TITLE: Final = "vLLM evaluation"
DASHBOARD_PATH: Final = f"/d/{DASHBOARD_UID}"
"""Path of the dashboard below Grafana's own address."""

_DOCS: Final = "https://github.com/vllm-eval/vllm-eval/blob/main/docs"
RUNBOOK_URL: Final = f"{_DOCS}/runbook.md"
RUNBOOK_URLS: Final[Mapping[str, str]] = {"en": RUNBOOK_URL, "ko": f"{_DOCS}/ko/runbook.md"}
"""The runbook by the alerts' language."""


def report_page(address: str, stack: str = "", model: str = "") -> str:
    """Return where the reports below `address` have their index, at the lines of one model.

    A fragment, since it needs nothing of the server: any web server or bucket may hold the pages.
    """
    return f"{address.rstrip('/')}/index.html" + (f"#{stack}/{model}" if model else "")
