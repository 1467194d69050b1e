"""Alert texts: templates that Prometheus fills in, with our own words in square brackets.

``[drop]`` is a number of the thresholds, ``[baseline]`` a query that Prometheus
makes when the alert fires. A word that is not in the table fails the build.
"""

import re
from typing import Final

from monitoring.names import report_page
from monitoring.promql import number
from monitoring.recording import BASELINE, REFERENCE, SAMPLES, TASK
from monitoring.thresholds import Thresholds, Windows, duration
from vllm_eval import metrics

_WORD: Final = re.compile(r"\[(\w+)\]")


def fill(text: str, limits: Thresholds, windows: Windows) -> str:
    """Return `text` with its words in square brackets replaced.

    Raises
    ------
    KeyError
        If a word has no meaning.
    """
    words = {
        "task_of_model": "{{ $labels.task }} of {{ $labels.model }}",
        "where": "{{ $labels.task }} of {{ $labels.model }} in stack {{ $labels.stack }}",
        "model_where": "{{ $labels.model }} in stack {{ $labels.stack }}",
        "percent": "{{ $value | humanizePercentage }}",
        "value": "{{ $value | humanize }}",
        # After a restart, the tag before it may still be in sight for five minutes.
        "tag": _ask(metrics.EXACT_MATCH.name, 'label "model_tag"', "topk(1, timestamp(%s))"),
        "score": _ask(metrics.EXACT_MATCH.name, "value | humanizePercentage"),
        "reference": _ask(REFERENCE.name, "value | humanizePercentage"),
        "baseline": _ask(BASELINE.name, "value | humanizePercentage"),
        "samples": _ask(SAMPLES.name, "value | humanize"),
        "pvalue": _ask(metrics.REGRESSION_PVALUE.name, 'value | printf "%.2g"'),
        "fell": _fell(),
        "drop": f"{number(limits.drop * 100)}%",
        "slow": f"{number(limits.slow_share * 100)}%",
        "day_noise": number(limits.day_noise),
        "stale": duration(windows.stale),
        "unsettled": duration(windows.unsettled),
        "usual": duration(windows.usual),
    }
    return _WORD.sub(lambda word: words[word[1]], text)


def _ask(name: str, what: str, around: str = "%s") -> str:
    matchers = ",".join(f"{label}=%q" for label in TASK)
    values = " ".join(f"$labels.{label}" for label in TASK)
    query = f"printf `{around % f'{name}{{{matchers}}}'}` {values} | query"
    return f"{{{{ with {query} }}}}{{{{ . | first | {what} }}}}{{{{ else }}}}unknown{{{{ end }}}}"


def _fell() -> str:
    """Name the tasks of a group that its drop comes from; nothing where there are none."""
    matchers = ",".join(f"{label}=%q" for label in TASK)
    values = " ".join(f"$labels.{label}" for label in TASK)
    # Two tags may be in sight for five minutes.
    drops = f"sort_desc(max by (leaf) ({metrics.LEAF_DROP.name}{{{matchers}}}))"
    each = '{{ if $at }}, {{ end }}{{ $leaf | label "leaf" }} (by {{ $leaf | value | humanizePercentage }})'
    listed = f"{{{{ range $at, $leaf := . }}}}{each}{{{{ end }}}}"
    return f"{{{{ with printf `{drops}` {values} | query }}}} Its tasks that fell most: {listed}.{{{{ end }}}}"


def dashboard_link(address: str, *, by_task: bool) -> str:
    """Return the dashboard's address with its variables set to the alert's labels."""
    labels = ("stack", "model", "task") if by_task else ("stack", "model")
    return f"{address}?{'&'.join(f'var-{label}={{{{ $labels.{label} | urlquery }}}}' for label in labels)}"


def report_link(address: str) -> str:
    """Return the address of the alert's model in the index of reports."""
    return report_page(address, "{{ $labels.stack | urlquery }}", "{{ $labels.model | urlquery }}")
