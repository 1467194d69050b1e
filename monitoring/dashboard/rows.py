"""The panels of each row, in the order in which one reads them."""

from typing import Final

from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models import dashboard as models

from monitoring.dashboard import panels, queries
from monitoring.dashboard.panels import Panel, bars, count, lines, number, query, states, steps
from monitoring.thresholds import Thresholds, Windows

_SHARE: Final = "percentunit"
_TASK: Final = "{{model}} · {{task}}"
_TAGGED: Final = "{{model}} {{model_tag}} · {{task}}"
_LEAF: Final = "{{model}} · {{task}} · {{leaf}}"
_RUN: Final = "{{model}} {{model_tag}}"


def alarms() -> list[Panel]:
    """Return the row that is green when nothing is wrong."""
    return [
        count(
            "Worse than baseline",
            "Tasks whose last decisive comparison with the pinned baseline says *worse*.",
            queries.WORSE,
        ).span(4),
        count(
            "Failed tasks",
            "Tasks whose last run did not pass its checks. Their score is the last good one.",
            queries.FAILED,
        ).span(4),
        count(
            "Models without a run",
            "Models that the settings list and that no run has ever scored.",
            queries.NEVER_RUN,
        ).span(4),
        number(
            "Oldest run",
            "Time since the last run of the model that waits longest.",
            query(queries.OLDEST, instant=True),
            unit="s",
        )
        .thresholds(steps((None, panels.GREEN), (Windows().stale, panels.RED)))
        .span(4),
        number(
            "custom_task_1",
            "Exact match of custom_task_1 by tag, over all stacks and models.",
            query(queries.HEADLINE, "{{model_tag}}", instant=True),
            unit=_SHARE,
        ).span(8),
        states(
            "Alerts",
            "Alerts of this stack and its models that fire, as Prometheus knows them.",
            query(queries.ALERTS, "{{alertname}} · {{model}} {{task}}"),
            panels.alert_codes(),
        )
        .span(24)
        .height(5),
    ]


def scores() -> list[Panel]:
    """Return the row of today's scores."""
    drop = Thresholds().drop
    return [
        _scores_table().span(24).height(8),
        bars(
            "Models compared",
            "Last good score of every model and task.",
            query(queries.SCORE, _TAGGED, instant=True),
            unit=_SHARE,
        )
        .min(0)
        .max(1)
        .span(12),
        bars(
            "Distance to the baseline",
            f"Score minus pinned baseline, relative to the baseline. Red: more than {drop:.0%} below.",
            query(queries.DISTANCE, _TAGGED, instant=True),
            unit=_SHARE,
        )
        .min(-2 * drop)
        .max(2 * drop)
        .thresholds(steps((None, panels.RED), (-drop, panels.YELLOW), (-drop / 5, panels.GREEN)))
        .span(12),
    ]


def _scores_table() -> table.Panel:
    columns = {
        "score": ("Score", queries.SCORE, _SHARE),
        "error": ("± 95 %", queries.ERROR, _SHARE),
        "baseline": ("Baseline", queries.BASELINE, _SHARE),
        "samples": ("Items", queries.SAMPLES, "none"),
        "pvalue": ("p (worse)", queries.PVALUE, "sci"),
        "verdict": ("verdict holds", queries.VERDICT_NOW, "none"),
    }
    panel = panels.facts(
        "Scores now",
        "The last good score of every task, with its error bar, baseline and verdict.",
        *(query(expr, ref=ref, instant=True, as_table=True) for ref, (_, expr, _) in columns.items()),
        hidden=["Time", "Value #verdict"],
        names={f"Value #{ref}": title for ref, (title, *_) in columns.items()}
        | {"model": "Model", "model_tag": "Tag", "task": "Task", "verdict": "Verdict"},
    )
    for title, _, unit in columns.values():
        panel = panel.override_by_name(title, [models.DynamicConfigValue(id_val="unit", value=unit)])
    mapping = models.ValueMap(options=panels.verdict_names())
    return panel.override_by_name("Verdict", [models.DynamicConfigValue(id_val="mappings", value=[mapping])])


def history() -> Panel:
    """Return the panel that is repeated for every model, in a row that is repeated for every task."""
    hidden = models.DynamicConfigValue(id_val="custom.lineWidth", value=0)
    band = [
        hidden,
        models.DynamicConfigValue(id_val="custom.fillBelowTo", value="95 % below"),
        models.DynamicConfigValue(id_val="custom.fillOpacity", value=20),
    ]
    dashed = models.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 8]})
    return (
        lines(
            "$model",
            "Score by tag, with its 95 % interval and the pinned baseline. Marks show a new tag or commit.",
            query(queries.SCORE, "{{model_tag}}", ref="A"),
            query(queries.UPPER, "95 % above", ref="B"),
            query(queries.LOWER, "95 % below", ref="C"),
            query(queries.BASELINE_LINE, "baseline", ref="D"),
            unit=_SHARE,
        )
        .override_by_name("95 % above", band)
        .override_by_name("95 % below", [hidden])
        .override_by_name("baseline", [dashed])
        .repeat("model")
        .repeat_direction("h")
        .span(12)
        .height(9)
    )


def outcomes() -> list[Panel]:
    """Return the row that tells how scores were judged, and what became no score."""
    return [
        states(
            "Verdicts",
            "The verdict that holds; an inconclusive run leaves the last decisive one.",
            query(queries.VERDICT_CODE, _TASK),
            panels.verdict_codes(),
        ).span(12),
        states(
            "Outcomes",
            "Whether each task's last run passed its checks.",
            query(queries.SUCCESS, _TASK),
            panels.success_codes(),
        ).span(12),
        lines(
            "Items behind the score",
            "Share of the expected items that stand behind the last good score. Of tasks by log-probabilities also the "
            "probability of all choices together: near 0, the prompt's format does not fit the model.",
            query(queries.SAMPLES_SHARE, _TASK, ref="A"),
            query(queries.CHOICE_MASS, f"choices · {_TASK}", ref="B"),
            unit=_SHARE,
        ).span(8),
        lines(
            "Empty and truncated answers, thoughts",
            "Share of the answers of the last run without text, or cut by the token limit: they count as wrong. "
            "Thoughts are not graded.",
            query(queries.EMPTY_SHARE, f"empty · {_TASK}", ref="A"),
            query(queries.TRUNCATED_SHARE, f"truncated · {_TASK}", ref="B"),
            query(queries.UNFINISHED_SHARE, f"never stopped thinking · {_TASK}", ref="C"),
            query(queries.THINKING_SHARE, f"thought first · {_TASK}", ref="D"),
            unit=_SHARE,
        ).span(8),
        lines(
            "All scores",
            "The score of each task, and every other metric that it reports.",
            query(queries.ALL_SCORES, f"{_TASK} · {{{{metric}}}} {{{{filter}}}}"),
            unit="none",
        ).span(8),
        bars(
            "Tasks of groups that fell",
            "Where a group is below its baseline: its tasks that lost most, and how much.",
            query(queries.FELL, _LEAF, instant=True),
            unit=_SHARE,
        )
        .min(0)
        .span(12),
        lines(
            "Tasks of groups",
            "Scores of the tasks of those groups whose settings say `leaves: true`.",
            query(queries.LEAVES, _LEAF),
            unit=_SHARE,
        ).span(12),
    ]


def runs() -> list[Panel]:
    """Return the row about runs and their endpoints."""
    return [
        lines(
            "Answers per second",
            "Of the last run, from its first to its last request.",
            query(queries.SPEED, _RUN),
            unit="reqps",
        ).span(8),
        lines(
            "Tokens per second",
            "Generated in the last run by all requests together, and the mean tokens of an answer.",
            query(queries.TOKENS_PER_SECOND, _RUN, ref="A"),
            query(queries.RESPONSE_TOKENS, f"tokens of an answer · {_TASK}", ref="B"),
            unit="none",
        ).span(8),
        lines(
            "Seconds of a request",
            "Median and 99th percentile of each task, whole request, in the last run.",
            query(queries.REQUEST_SECONDS, f"{_TASK} · {{{{quantile}}}}"),
            unit="s",
        ).span(8),
        lines(
            "First token, and token to token",
            "Median and 99th percentile of each task, where the server tells (--enable-per-request-metrics).",
            query(queries.FIRST_TOKEN, f"first · {_TASK} · {{{{quantile}}}}", ref="A"),
            query(queries.BETWEEN_TOKENS, f"between · {_TASK} · {{{{quantile}}}}", ref="B"),
            unit="s",
        ).span(8),
        lines("Duration", "Wall time of the last run.", query(queries.DURATION, _RUN), unit="s").span(8),
        lines(
            "Freshness",
            "Time since the last run, and since the last run with every task good.",
            query(queries.RUN_AGE, "{{model}} run", ref="A"),
            query(queries.SUCCESS_AGE, "{{model}} good run", ref="B"),
            unit="s",
        ).span(8),
        panels.facts(
            "Where the scores come from",
            "Run, commit, task version and engine behind each score. The run's id is what one accepts as a baseline.",
            query(queries.ORIGIN, instant=True, as_table=True),
            hidden=["Time", "Value"],
            names={},
        )
        .span(24)
        .height(7),
    ]
