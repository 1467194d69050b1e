"""A group's score is lm_eval's own aggregate of the same answers."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.openai_server import OpenAIServer, Plan, running
from tests.support.workspace import Workspace

# A second filter, which judges otherwise, so that a filter_list matters.
DIGIT = '  - name: digit\n    filter: [{function: regex, regex_pattern: "([0-9])"}, {function: take_first}]\n'
GROUPS = {
    "sized": "task: [sized_1, sized_2, sized_3]\naggregate_metric_list: {metric: exact_match, weight_by_size: true}\n",
    "macro": "task: [macro_1, macro_2, macro_3]\naggregate_metric_list: {metric: exact_match, weight_by_size: false}\n",
    "nested": (
        "task:\n  - group: inner\n    task: [nested_1, nested_2]\n"
        "    aggregate_metric_list: [{metric: exact_match, weight_by_size: false}]\n  - nested_tag\n"
        "aggregate_metric_list: [{metric: exact_match, aggregation: mean}]\n"
    ),
    "chosen": (
        "task: [chosen_1, chosen_2, chosen_3]\n"
        "aggregate_metric_list: [{metric: exact_match, weight_by_size: false, filter_list: digit}]\n"
    ),
    "equal": "task: [equal_1, equal_2, equal_3]\naggregate_metric_list: [{metric: exact_match}]\n",
}


def test_scores_of_groups_are_those_of_lm_evals_command_line(workspace: Workspace) -> None:
    tasks = workspace.root / "tasks"
    for group, yaml in GROUPS.items():
        for number in (1, 2, 3):
            workspace.add_task(f"{group}_{number}", 9 if group == "equal" else 5 * number + 2)
            path = tasks / f"{group}_{number}.yaml"
            tag = "tag: nested_tag\n" if path.stem == "nested_3" else ""
            path.write_text(path.read_text().replace("metadata:", f"{DIGIT}metadata:") + tag)
        (tasks / f"_{group}.yaml").write_text(f"group: {group}\n{yaml}")
    workspace.configure({group: {} for group in GROUPS})
    with running(OpenAIServer(workspace.answers, Plan(accuracy=0.6))) as url:
        workspace.set_models(workspace.model(url))
        assert workspace.run() == 0
        theirs = lm_eval(workspace, url)
    run = workspace.last()
    for group, result in run.tasks.items():
        filtered = {score.filter: score.value for score in result.scores if score.metric == "exact_match"}
        assert result.filter == ("digit" if group == "chosen" else "strip")
        assert result.score == pytest.approx(theirs[group][f"exact_match,{result.filter}"], abs=1e-12)
        assert 0 < (result.score or 0) < 1
        if group == "chosen":  # lm_eval aggregates no other filter there
            continue
        assert filtered["digit"] == pytest.approx(theirs[group]["exact_match,digit"], abs=1e-12)
        if group in {"macro", "equal"}:
            # Elsewhere lm_eval takes the leaves for draws of one distribution; ours keeps them apart.
            assert result.stderr == pytest.approx(theirs[group]["exact_match_stderr,strip"], abs=1e-12)


def lm_eval(workspace: Workspace, url: str) -> dict[str, dict[str, float]]:
    """Return the groups' results of lm_eval's command line."""
    out = workspace.root / "out"
    command = [
        sys.executable, "-m", "lm_eval", "run", "--model", "local-completions",
        "--model_args", f"base_url={url}/completions,model=fake-model,tokenizer_backend=None,num_concurrent=8",
        "--tasks", ",".join(GROUPS), "--include_path", ".", "--output_path", str(out),
    ]  # fmt: skip
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(out / "hf"), "HOME": str(out)}
    done = subprocess.run(
        command,
        cwd=workspace.root / "tasks",
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (file,) = out.rglob("results_*.json")
    groups: dict[str, dict[str, float]] = json.loads(file.read_text())["groups"]
    return groups
