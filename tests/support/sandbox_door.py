"""A sandbox that answers the first page of `make ui` as kubectl would, with a results claim of its own."""

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.report_runs import history
from vllm_eval.pages.write import write_pages
from vllm_eval.results import ResultStore
from vllm_eval.storage import LocalStorage
from workbench.paths import Paths
from workbench.sandbox import door, ui
from workbench.shell import CommandError

ALERT = {
    "labels": {"alertname": "EvaluationRegression", "model": "org/small-model", "task": "custom_task_1"},
    "annotations": {"summary": "custom_task_1 fell from 0.757 to 0.634"},
    "startsAt": "2026-10-05T14:31:00.000Z",
}
APPLICATION = {
    "status": {
        "sync": {"status": "Synced", "revision": "4f1d2c9a7be0" + "0" * 28},
        "health": {"status": "Healthy"},
        "operationState": {"message": "successfully synced (all tasks run)"},
    }
}


class Answering:
    """Stands for the sandbox's namespaces; ``answers`` maps a word of a command to what kubectl prints, None: fails."""

    def __init__(self, folder: Path, answers: dict[str, str | None] | None = None) -> None:
        self.paths = Paths(folder, "test")
        labels = {"model": "org/small-model", "model_tag": "v3", "task": "custom_task_1", "stack": "local"}
        value = {"data": {"result": [{"metric": labels, "value": [0, "0.634"]}]}}
        self.answers: dict[str, str | None] = {
            "/api/v2/alerts": json.dumps([ALERT]),
            "/api/v1/query": json.dumps(value),
            "applications.argoproj.io": json.dumps(APPLICATION),
            "pvc": "volume-03",
            **(answers or {}),
        }

    def run(self, command: Sequence[str | Path], **_: Any) -> str:  # noqa: ANN401
        """Answer one command."""
        line = " ".join(map(str, command))
        answer = next((text for word, text in self.answers.items() if word in line), None)
        if answer is None:
            raise CommandError([line], "exit code 1", "the server is away", None)
        return answer

    def with_reports(self) -> "Answering":
        """Fill the claim with a history, whose last run became worse."""
        folder = self.paths.state / "volumes/volume-03"
        folder.mkdir(parents=True)
        write_pages(ResultStore(LocalStorage(folder)), history(folder, items=200))
        return self


@contextmanager
def open_door(sandbox: Answering) -> Iterator[str]:
    """Serve the page on a free port and give its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = door.serve(listener, sandbox, ui.PAGES)  # type: ignore[arg-type] # it runs commands alike
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.shutdown()
