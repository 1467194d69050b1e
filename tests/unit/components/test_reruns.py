"""What is said in advance of a changed Job is what the runner then does."""

import itertools
import json
from typing import Any

import pytest

from components import labels, patches, reruns
from tests.support.openai_server import OpenAIServer, running
from tests.support.workspace import Workspace
from vllm_eval.settings import INCREMENTAL_JOB

Entry = dict[str, Any]
ONE: Entry = {"name": "one", "tag": "1"}
TWO: Entry = {"name": "two", "tag": "2"}
KNOWN = {"commit": "c1"}

# Name, the list before and after, what else the Job says before and after, and how many models are asked again.
CASES: list[tuple[str, list[Entry], list[Entry], Entry, Entry, int]] = [
    ("concurrency", [ONE, TWO], [{**ONE, "concurrency": 2}, TWO], KNOWN, KNOWN, 0),
    ("baseline", [ONE, TWO], [{**ONE, "baseline": {"run": "r"}}, TWO], KNOWN, KNOWN, 0),
    ("key", [ONE, TWO], [{**ONE, "api_key": "key"}, TWO], KNOWN, KNOWN, 0),
    ("tag", [ONE, TWO], [{**ONE, "tag": "1b"}, TWO], KNOWN, KNOWN, 1),
    ("api", [ONE, TWO], [{**ONE, "api": "chat"}, TWO], KNOWN, KNOWN, 1),
    ("block", [ONE, TWO], [{**ONE, "generation": {"temperature": 0.6}}, TWO], KNOWN, KNOWN, 1),
    ("stream", [ONE, TWO], [{**ONE, "stream": True}, TWO], KNOWN, KNOWN, 0),
    ("reasoning", [ONE, TWO], [{**ONE, "reasoning": "off"}, TWO], KNOWN, KNOWN, 1),
    ("one more", [ONE], [ONE, TWO], KNOWN, KNOWN, 1),
    ("one less", [ONE, TWO], [TWO], KNOWN, KNOWN, 0),
    ("order", [ONE, TWO], [TWO, ONE], KNOWN, KNOWN, 0),
    ("concurrency and tag", [ONE, TWO], [{**ONE, "concurrency": 2}, {**TWO, "tag": "2b"}], KNOWN, KNOWN, 1),
    ("nothing in the list", [ONE, TWO], [ONE, TWO], KNOWN, {**KNOWN, "parallelism": 2}, 2),
    ("a default written out", [ONE, TWO], [{**ONE, "concurrency": 8}, TWO], KNOWN, KNOWN, 2),
    ("another commit", [ONE, TWO], [{**ONE, "tag": "1b"}, TWO], KNOWN, {"commit": "c2"}, 2),
    ("a commit that nobody wrote", [ONE], [ONE, TWO], {"commit": "unknown"}, {"commit": "unknown"}, 2),
    ("no commit", [ONE], [ONE, TWO], {"commit": ""}, {"commit": ""}, 2),
    ("another limit", [ONE, TWO], [{**ONE, "tag": "1b"}, TWO], KNOWN, {**KNOWN, "limit": 3}, 2),
    ("tasks of its own", [ONE, TWO], [{**ONE, "tasks": ["task"]}, TWO], KNOWN, KNOWN, 1),
    ("all tasks by name", [ONE, TWO], [{**ONE, "tasks": ["other", "task"]}, TWO], KNOWN, KNOWN, 0),
    ("a longer deadline", [ONE, TWO], [{**ONE, "tag": "1b"}, TWO], KNOWN, {**KNOWN, "deadline": 99}, 1),
]  # fmt: skip


def job(models: list[Entry], said: Entry) -> Entry:
    """Return the committed Job with a list of models and what else is said of it."""
    manifest: Entry = patches.manifest()
    template = manifest["spec"]["template"]
    listed = [{**each, "endpoint": "http://model/v1"} for each in models]
    template["metadata"]["annotations"] |= {
        labels.MODELS_ANNOTATION: json.dumps(listed),
        labels.COMMIT_ANNOTATION: said["commit"],
    }
    manifest["spec"] |= {"completions": len(models), "parallelism": said.get("parallelism", 1)}
    environment = {"VLLM_EVAL_LIMIT": said.get("limit"), "VLLM_EVAL_DEADLINE_SECONDS": said.get("deadline")}
    template["spec"]["containers"][0]["env"] += [
        {"name": name, "value": str(value)} for name, value in environment.items() if value is not None
    ]
    return manifest


class Runner:
    """Runs every pod of a Job on one endpoint."""

    def __init__(self, workspace: Workspace, server: OpenAIServer, url: str) -> None:
        self._workspace = workspace
        self._server = server
        self._url = url

    def evaluated(self, models: list[Entry], said: Entry, run: str) -> int:
        """Return how many of a Job's models were asked anything."""
        listed = [{"served_name": "fake-model", **each, "endpoint": self._url} for each in models]
        self._workspace.set_models(*listed)
        (self._workspace.root / "git-commit").write_text(said["commit"])
        given = {"VLLM_EVAL_RUN_ID": run, "VLLM_EVAL_JOB_NAME": INCREMENTAL_JOB}
        given |= {"VLLM_EVAL_LIMIT": str(said["limit"])} if "limit" in said else {}
        counts = [len(self._server.requests)]
        for index in range(len(models)):
            assert self._workspace.run(**given, JOB_COMPLETION_INDEX=str(index)) == 0
            counts.append(len(self._server.requests))
        return sum(count > before for before, count in itertools.pairwise(counts))


@pytest.mark.parametrize(
    ("before", "after", "said", "then", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_runner_evaluates_what_is_said_in_advance(
    workspace: Workspace, before: list[Entry], after: list[Entry], said: Entry, then: Entry, expected: int
) -> None:
    rerun = reruns.of(job(before, said), job(after, then), ("task", "other"))
    assert (rerun.models, rerun.listed) == (expected, len(after))

    workspace.add_task("task", 5)
    workspace.add_task("other", 3)
    (workspace.root / "secrets" / "key").write_text("secret")
    server = OpenAIServer(workspace.answers)
    with running(server) as url:
        runner = Runner(workspace, server, url)
        assert runner.evaluated(before, said, "first") == len(before)
        assert runner.evaluated(after, then, "second") == expected


def test_a_job_without_a_list_is_the_one_model_of_its_environment() -> None:
    alone = job([], KNOWN)
    assert (
        reruns.of(None, alone) == reruns.of(alone, alone) == reruns.of(job([ONE], KNOWN), alone) == reruns.Rerun(1, 1)
    )
    assert reruns.of(alone, job([ONE, TWO], KNOWN)) == reruns.Rerun(2, 2)


def test_the_work_is_counted_by_the_tasks_of_each_model() -> None:
    own = {**TWO, "tasks": ["task"]}
    assert reruns.everything(job([ONE, own], KNOWN)).times(3) == "2 models, 4 tasks in all"
    assert reruns.of(job([ONE], KNOWN), job([ONE, own], KNOWN)).times(3) == "1 model x 1 task"
    assert reruns.everything(job([ONE, TWO], KNOWN)).times(3) == "2 models x 3 tasks"


def test_a_list_that_an_older_version_wrote_is_compared_as_it_is() -> None:
    old, new = [{**ONE, "gone": 1}, TWO], [ONE, TWO]
    assert reruns.of(job(old, KNOWN), job(new, KNOWN)) == reruns.Rerun(1, 2)
