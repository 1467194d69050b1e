"""What the user reads at the end: the scores, as Prometheus has them."""

from collections.abc import Sequence
from dataclasses import dataclass

from vllm_eval import metrics
from workbench.cluster.kubectl import PROMETHEUS, query
from workbench.shell import Runner


@dataclass(frozen=True)
class ScoreRow:
    """One series of the metric contract: a share 0..1, its standard error, and numbers of items."""

    model: str
    tag: str
    task: str
    exact_match: float
    stderr: float
    samples: int
    expected: int


def scores(runner: Runner, stack: str, prometheus: str = PROMETHEUS) -> list[ScoreRow]:
    """Read the stack's scores from Prometheus, ordered by model and task."""

    def values(metric: metrics.Metric) -> dict[tuple[str, str, str], float]:
        series = query(runner, f'{metric.name}{{stack="{stack}"}}', prometheus)
        return {(labels["model"], labels["model_tag"], labels["task"]): value for labels, value in series}

    stderr = values(metrics.EXACT_MATCH_STDERR)
    samples = values(metrics.SAMPLES)
    expected = values(metrics.SAMPLES_EXPECTED)
    return [
        ScoreRow(*key, exact_match=value, stderr=stderr[key], samples=int(samples[key]), expected=int(expected[key]))
        for key, value in sorted(values(metrics.EXACT_MATCH).items())
        if key in stderr and key in samples and key in expected
    ]


def table(found: Sequence[ScoreRow]) -> str:
    """Lay the scores out in columns."""
    rows = [("model", "tag", "task", "exact_match", "samples")]
    for score in found:
        value = f"{score.exact_match:.3f} ± {score.stderr:.3f}"
        rows.append((score.model, score.tag, score.task, value, f"{score.samples}/{score.expected}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
