"""Rules on the service that shows reports."""

from collections.abc import Iterator
from typing import Final

from components.settings.model import AccessMode, EvaluationSettings
from components.settings.problems import Problem, problem, set_command

HOSTNAME: Final = "kubernetes.io/hostname"


def check_report(evaluation: EvaluationSettings) -> Iterator[Problem]:
    """Refuse a service for reports whose pod would keep the evaluation from mounting the results claim."""
    results, report = evaluation.results, evaluation.report
    path: list[str | int] = ["evaluation", "report", "service"]
    if not report.service:
        for name in sorted(report.model_fields_set - {"service"}):
            yield problem(
                [*path[:-1], name],
                getattr(report, name),
                "has no effect without service: true",
                set_command(path, value=True),
            )
    elif (
        results.url is None
        and results.access_mode is AccessMode.ONE_NODE
        and HOSTNAME not in evaluation.pod.node_selector
    ):
        fault = (
            "the results claim is ReadWriteOnce: the service would hold it on its node, and an evaluation elsewhere"
            " could not start"
        )
        cure = (
            set_command(["evaluation", "results", "access_mode"], "ReadWriteMany")
            + f", or evaluation.results.url, or a node in evaluation.pod.nodeSelector ({HOSTNAME})"
        )
        yield problem(path, True, fault, cure)
