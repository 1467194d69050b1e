"""A folder with a configuration, tasks and data, and the command line run in it."""

import functools
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.openai_server import OpenAIServer, running, share
from vllm_eval.cli import main
from vllm_eval.records import RunResult
from vllm_eval.results import ResultStore
from vllm_eval.storage import open_storage
from workbench.paths import REPOSITORY

MODEL = "org/fake-model"
EVAL = REPOSITORY / "eval" / "evalchemy"
# The tasks that are shipped.
TASKS = ("custom_task_1", "custom_task_2")


@dataclass
class Workspace:
    """One evaluation's files; ``environ`` is what the pod would set."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)
    items: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for folder in ("configs", "tasks", "data", "secrets"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        self.environ = {
            "VLLM_EVAL_CONFIG": str(self.root / "configs" / "eval_config.json"),
            "VLLM_EVAL_RESULTS": str(self.root / "results"),
            "VLLM_EVAL_MODELS_FILE": str(self.root / "models.json"),
            "VLLM_EVAL_GIT_COMMIT_FILE": str(self.root / "git-commit"),
            "VLLM_EVAL_SECRETS": str(self.root / "secrets"),
            "JOB_COMPLETION_INDEX": "0",
            "VLLM_EVAL_ENDPOINT_WAIT_SECONDS": "0.4",
            "VLLM_EVAL_REQUEST_TIMEOUT_SECONDS": "0.5",
            "VLLM_EVAL_PUBLISH_WAIT_SECONDS": "0.7",
            **self.environ,
        }

    def add_task(
        self, name: str, count: int, *, max_gen_toks: int = 16, settings: Mapping[str, Any] | None = None
    ) -> None:
        """Write a task with ``count`` items of its own and enable it."""
        items = {f"{name}: what is {index} plus {index + 1}?": str(2 * index + 1) for index in range(count)}
        self.items[name] = items
        lines = [json.dumps({"question": question, "answer": answer}) + "\n" for question, answer in items.items()]
        (self.root / "data" / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        (self.root / "tasks" / f"{name}.yaml").write_text(TASK.format(name=name, max_gen_toks=max_gen_toks))
        self.configure({name: {"engine": "fake", **(settings or {})}}, alone=False)

    def configure(self, tasks: Mapping[str, Mapping[str, Any]], *, alone: bool = True) -> None:
        """Enable these tasks, each with its settings; with ``alone`` all others go."""
        path = self.root / "configs" / "eval_config.json"
        before = {} if alone or not path.exists() else json.loads(path.read_text())
        path.write_text(json.dumps({**before, **{name: {"enabled": True, **each} for name, each in tasks.items()}}))

    @property
    def answers(self) -> dict[str, str]:
        """Every question with its right answer, for the server."""
        return {question: answer for items in self.items.values() for question, answer in items.items()}

    def score(self, task: str, accuracy: float, limit: int | None = None) -> float:
        """Return the score that the server's accuracy gives exactly."""
        questions = list(self.items[task])[:limit]
        return sum(share(question) < accuracy for question in questions) / len(questions)

    def model(self, url: str, **fields: object) -> dict[str, object]:
        """Return a model's entry for the list."""
        return {"name": MODEL, "tag": "v1", "endpoint": url, "served_name": "fake-model", **fields}

    def set_models(self, *models: Mapping[str, object]) -> None:
        """Write the list of models as the stack does."""
        (self.root / "models.json").write_text(json.dumps(list(models), sort_keys=True, separators=(",", ":")))

    def run(self, *arguments: str, **environ: str) -> int:
        """Run ``vllm-eval`` in this process; an empty value unsets a variable."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**self.environ, **environ}.items():
                if value:
                    patch.setenv(name, value)
                else:
                    patch.delenv(name, raising=False)
            return main(arguments or ["run"])

    @contextmanager
    def served(self, server: OpenAIServer, **model: object) -> Iterator[None]:
        """Let a server answer as the only model of the list, which has these fields."""
        with running(server) as url:
            self.set_models(self.model(url, **model))
            yield

    def evaluate(self, server: OpenAIServer, *arguments: str, **model: object) -> int:
        """Run ``vllm-eval`` once, with a model that is served only meanwhile."""
        with self.served(server, **model):
            return self.run(*arguments)

    def start(self, *arguments: str, **environ: str) -> "subprocess.Popen[str]":
        """Start ``vllm-eval`` as a process."""
        return subprocess.Popen(
            [sys.executable, "-m", "vllm_eval", *(arguments or ["run"])],
            env={**os.environ, **self.environ, **environ},
            cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    @property
    def store(self) -> ResultStore:
        """The results folder."""
        return ResultStore(open_storage(self.environ["VLLM_EVAL_RESULTS"]))

    def last(self, stack: str = "default") -> RunResult:
        """Return the last run of the model."""
        return self.store.runs(stack, MODEL)[-1]

    def recorded(self) -> int:
        """Count the durable answers of unfinished tasks."""
        files = (self.root / "results" / "answers").rglob("*.jsonl")
        return sum(len(file.read_bytes().splitlines()) for file in files)


def shipped_items(task: str) -> list[dict[str, str]]:
    """Return the items of a shipped task."""
    return [json.loads(line) for line in (EVAL / "data" / f"{task}.jsonl").read_text(encoding="utf-8").splitlines()]


@functools.cache
def task_utils() -> Any:  # noqa: ANN401 - a module that lies beside YAML files, in no package
    """Return the functions of the shipped tasks."""
    spec = importlib.util.spec_from_file_location("shipped_task_utils", EVAL / "tasks" / "utils.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TASK = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: ../data/{name}.jsonl
test_split: test
output_type: generate_until
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: "{{{{answer}}}}"
generation_kwargs:
  until: ["\\n"]
  max_gen_toks: {max_gen_toks}
  do_sample: false
  temperature: 0.0
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
filter_list:
  - name: strip
    filter:
      - function: remove_whitespace
      - function: take_first
metadata:
  version: 1
"""
TASK_OF_ITEMS = """\
task: t
dataset_path: {path}
{dataset}
test_split: test
output_type: generate_until
doc_to_text: {prompt}
doc_to_target: {target}
generation_kwargs: {{until: ["\\n"], max_gen_toks: 8, do_sample: false}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
"""


def write_task(
    folder: Path,
    *,
    path: str = "json",
    files: object = "../data/t.jsonl",
    prompt: str = "'{{question | tojson}}'",
    target: str = "'{{ \"x\" }}'",
    more: str = "",
    **kwargs: object,
) -> None:
    """Write tasks/t.yaml; ``prompt`` and ``target`` are YAML."""
    (folder / "tasks").mkdir(exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    given_files = {} if files is None else {"data_files": {"test": files}}
    dataset = json.dumps({**given_files, **kwargs})
    text = TASK_OF_ITEMS.format(path=path, dataset=f"dataset_kwargs: {dataset}", prompt=prompt, target=target)
    (folder / "tasks" / "t.yaml").write_text(text + more)
