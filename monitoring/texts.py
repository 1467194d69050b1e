"""Alert texts: templates that Prometheus fills in, with our own words in square brackets.

``[drop]`` is a number of the thresholds, ``[baseline]`` a query that Prometheus
makes when the alert fires. A word that is not in the table fails the build.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Final

from monitoring.names import report_page
from monitoring.promql import number
from monitoring.recording import BASELINE, REFERENCE, SAMPLES, TASK
from monitoring.thresholds import Thresholds, Windows, duration
from vllm_eval import metrics

WORD: Final = re.compile(r"\[(\w+)\]")

ENGLISH: Final = "en"
# What the words in square brackets become, by language; the alerts' texts are in `alerts.py` and `korean.py`.
PHRASES: Final[Mapping[str, Mapping[str, str]]] = {
    ENGLISH: {
        "task_of_model": "{{ $labels.task }} of {{ $labels.model }}",
        "where": "{{ $labels.task }} of {{ $labels.model }} in stack {{ $labels.stack }}",
        "model_where": "{{ $labels.model }} in stack {{ $labels.stack }}",
        "unknown": "unknown",
        "fell": " Its tasks that fell most: %s.",
        "leaf": "(by %s)",
    },
    "ko": {
        "task_of_model": "{{ $labels.model }}의 {{ $labels.task }}",
        "where": "스택 {{ $labels.stack }}, 모델 {{ $labels.model }}, 태스크 {{ $labels.task }}",
        "model_where": "스택 {{ $labels.stack }}, 모델 {{ $labels.model }}",
        "unknown": "알 수 없음",
        "fell": " 가장 많이 떨어진 하위 태스크: %s.",
        "leaf": "(%s 하락)",
    },
}


def fill(text: str, limits: Thresholds, windows: Windows, language: str = ENGLISH) -> str:
    """Return `text` with its words in square brackets replaced.

    Raises
    ------
    KeyError
        If a word has no meaning.
    """
    phrases = PHRASES[language]
    ask = partial(_ask, unknown=phrases["unknown"])
    words = {
        **{name: phrases[name] for name in ("task_of_model", "where", "model_where")},
        "percent": "{{ $value | humanizePercentage }}",
        "value": "{{ $value | humanize }}",
        # For five minutes after the tag changes, queries may still return the earlier tag as well.
        "tag": ask(metrics.EXACT_MATCH.name, 'label "model_tag"', "topk(1, timestamp(%s))"),
        "score": ask(metrics.EXACT_MATCH.name, "value | humanizePercentage"),
        "reference": ask(REFERENCE.name, "value | humanizePercentage"),
        "baseline": ask(BASELINE.name, "value | humanizePercentage"),
        "samples": ask(SAMPLES.name, "value | humanize"),
        "pvalue": ask(metrics.REGRESSION_PVALUE.name, 'value | printf "%.2g"'),
        "fell": _fell(phrases),
        "drop": f"{number(limits.drop * 100)}%",
        "slow": f"{number(limits.slow_share * 100)}%",
        "day_noise": number(limits.day_noise),
        "stale": duration(windows.stale),
        "unsettled": duration(windows.unsettled),
        "usual": duration(windows.usual),
    }
    return WORD.sub(lambda word: words[word[1]], text)


def _ask(name: str, what: str, around: str = "%s", *, unknown: str) -> str:
    matchers = ",".join(f"{label}=%q" for label in TASK)
    values = " ".join(f"$labels.{label}" for label in TASK)
    query = f"printf `{around % f'{name}{{{matchers}}}'}` {values} | query"
    return f"{{{{ with {query} }}}}{{{{ . | first | {what} }}}}{{{{ else }}}}{unknown}{{{{ end }}}}"


def _fell(phrases: Mapping[str, str]) -> str:
    """Name the tasks of a group that its drop comes from; empty if there are none."""
    matchers = ",".join(f"{label}=%q" for label in TASK)
    values = " ".join(f"$labels.{label}" for label in TASK)
    # For five minutes queries may return two tags.
    drops = f"sort_desc(max by (leaf) ({metrics.LEAF_DROP.name}{{{matchers}}}))"
    drop = phrases["leaf"] % "{{ $leaf | value | humanizePercentage }}"
    each = f'{{{{ if $at }}}}, {{{{ end }}}}{{{{ $leaf | label "leaf" }}}} {drop}'
    listed = f"{{{{ range $at, $leaf := . }}}}{each}{{{{ end }}}}"
    return f"{{{{ with printf `{drops}` {values} | query }}}}{phrases['fell'] % listed}{{{{ end }}}}"


def dashboard_link(address: str, *, by_task: bool) -> str:
    """Return the dashboard's address with its variables set to the alert's labels."""
    labels = ("stack", "model", "task") if by_task else ("stack", "model")
    return f"{address}?{'&'.join(f'var-{label}={{{{ $labels.{label} | urlquery }}}}' for label in labels)}"


def report_link(address: str) -> str:
    """Return the address of the alert's model in the index of reports."""
    return report_page(address, "{{ $labels.stack | urlquery }}", "{{ $labels.model | urlquery }}")
