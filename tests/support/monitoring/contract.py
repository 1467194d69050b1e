"""Series of the metric contract, as a gateway would show them after runs of some models."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.monitoring.promtool import labels
from vllm_eval import metrics
from vllm_eval.metrics import Metric


@dataclass(frozen=True)
class Run:
    """What one run of one model published about one task."""

    model: str
    tag: str
    task: str
    score: float
    ended: float
    stack: str = "prod"
    baseline: float | None = 0.8
    verdict: str = "same"
    samples: int = 500
    expected: int = 500
    success: bool = True
    speed: float = 20.0
    commit: str = "c0ffee"

    def series(self) -> Iterator[tuple[str, float]]:
        """Iterate over the series, in PromQL's notation, with their values."""
        of_run = {"stack": self.stack, "model": self.model, "model_tag": self.tag}
        of_task = {"stack": self.stack, "task": self.task, "model": self.model, "model_tag": self.tag}
        info = {"run_id": f"run-{self.ended:.0f}", "git_commit": self.commit, "task_hash": "h1", "engine_version": "e1"}
        for metric, more, value in self._values(info):
            if value is not None:
                known = of_run if metric.labels == metrics.RUN else of_task
                assert set(metric.labels) == {*known, *more}, metric.name
                yield metric.name + labels(**known, **more), float(value)

    def _values(self, info: dict[str, str]) -> Iterator[tuple[Metric, dict[str, str], float | None]]:
        error = (self.score * (1 - self.score) / self.samples) ** 0.5
        yield metrics.EXACT_MATCH, {}, self.score
        yield metrics.EXACT_MATCH_STDERR, {}, error
        yield metrics.SAMPLES, {}, self.samples
        yield metrics.SAMPLES_EXPECTED, {}, self.expected
        yield metrics.EMPTY_RESPONSES, {}, 3
        yield metrics.TRUNCATED_RESPONSES, {}, 1
        yield metrics.BASELINE_EXACT_MATCH, {}, self.baseline
        yield metrics.REGRESSION_PVALUE, {}, None if self.baseline is None else 0.2
        for verdict in metrics.VERDICTS:
            yield metrics.VERDICT, {"verdict": verdict}, verdict == self.verdict
        yield metrics.RUN_SUCCESS, {}, self.success
        yield metrics.SCORE, {"metric": "f1", "filter": "none"}, self.score
        yield metrics.RUN_INFO, info, 1
        yield metrics.RUN_DURATION_SECONDS, {}, 300
        yield metrics.LAST_RUN_TIMESTAMP_SECONDS, {}, self.ended
        yield metrics.LAST_SUCCESS_TIMESTAMP_SECONDS, {}, self.ended
        yield metrics.REQUESTS_PER_SECOND, {}, self.speed
        yield metrics.OUTPUT_TOKENS_PER_SECOND, {}, self.speed * 40
        yield metrics.RESPONSES, {}, self.expected
        yield metrics.THINKING_RESPONSES, {}, self.expected
        yield metrics.UNFINISHED_THOUGHTS, {}, 2
        yield metrics.RESPONSE_TOKENS, {}, 40
        for quantile, times in (("0.5", 8), ("0.9", 12), ("0.99", 20)):
            yield metrics.REQUEST_SECONDS, {"quantile": quantile}, times / self.speed
            yield metrics.TIME_TO_FIRST_TOKEN_SECONDS, {"quantile": quantile}, times / self.speed / 10
            yield metrics.INTER_TOKEN_LATENCY_SECONDS, {"quantile": quantile}, times / self.speed / 50
        yield metrics.CHOICE_MASS, {}, 0.9
        yield metrics.LEAF_EXACT_MATCH, {"leaf": "leaf"}, self.score
        yield metrics.LEAF_DROP, {"leaf": "leaf"}, 0.1
