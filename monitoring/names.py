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
    """Return the address of the index of the reports below `address`, at the lines of one model.

    The model is a fragment, so that any web server or bucket can serve the pages.
    """
    return f"{address.rstrip('/')}/index.html" + (f"#{stack}/{model}" if model else "")
