"""Which evaluations a pull request starts, as the comment tells it."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.ci.pull_request import CONFIG, JOB, MANIFESTS, TASKS, PullRequest


def test_new_model_evaluates_only_that_one(pull_request: PullRequest) -> None:
    done = pull_request.previewed("prod-models", follows="main")

    assert done.returncode == 0, done.stdout
    assert "**This re-runs 1 model x 2 tasks**: only what is new or changed of 3 models." in pull_request.comment
    assert "+  completions: 3" in pull_request.comment
    # The nightly copies the Job's spec: the patches were applied before the replacement.
    assert pull_request.comment.count("+      completions: 3") == 1


def test_a_stack_is_known_by_its_application_whatever_that_is_called(pull_request: PullRequest) -> None:
    pull_request.record("prod", "prod-models", follows="main")
    file = pull_request.records / "prod.json"
    text = file.read_text(encoding="utf-8")
    assert '"name": "vllm-evalchemy-job"' in text
    file.write_text(text.replace('"name": "vllm-evalchemy-job"', '"name": "vllm-evalchemy-job-prod"'), encoding="utf-8")

    done = pull_request.run("prod")

    assert done.returncode == 0, done.stdout
    assert "**This re-runs 1 model x 2 tasks**: only what is new or changed of 3 models." in pull_request.comment
    assert "Application vllm-evalchemy-job-prod" in pull_request.comment


def test_tasks_are_those_of_the_configuration_that_the_stack_names(pull_request: PullRequest) -> None:
    pull_request.change({"eval/evalchemy/configs/suites/small.json": '{"one": {"enabled": true}}'})
    named = {"name": "VLLM_EVAL_CONFIG", "value": "/opt/vllm-eval/configs/suites/small.json"}
    pull_request.previewed("prod-models", only_job(lambda container, _: container["env"].append(named)), follows="main")
    assert "**This re-runs 2 models x 1 task**." in pull_request.comment


def only_job(change: Callable[[dict[str, Any], list[dict[str, Any]]], None]) -> Callable[[dict[str, Any]], None]:
    """Make the recorded preview one that changes the Job's container and list of models, and nothing else."""

    def edit(record: dict[str, Any]) -> None:
        for step in record["plan"]["steps"]:
            if "Application" not in step["urn"]:
                continue
            step["newState"] = copy.deepcopy(step["oldState"])
            for entry in step["newState"]["inputs"]["spec"]["source"]["kustomize"]["patches"]:
                patch = json.loads(entry["patch"])
                template = patch["spec"].get("template", {})
                annotations = template.get("metadata", {}).get("annotations", {})
                if listed := annotations.get("vllm-eval/models"):
                    models = json.loads(listed)
                    change(template["spec"]["containers"][0], models)
                    annotations["vllm-eval/models"] = json.dumps(models)
                    entry["patch"] = json.dumps(patch)

    return edit


def swap_sides(record: dict[str, Any]) -> None:
    """Make the recorded preview that of the way back."""
    for step in record["plan"]["steps"]:
        step["oldState"], step["newState"] = step.get("newState"), step.get("oldState")


def test_retired_model_evaluates_nothing(pull_request: PullRequest) -> None:
    pull_request.previewed("prod-models", swap_sides, follows="main")
    assert "This re-creates the Job, which has no new model to evaluate." in pull_request.comment


def test_removed_job_re_runs_nothing_and_needs_no_label(pull_request: PullRequest) -> None:
    def delete_job(record: dict[str, Any]) -> None:
        for step in record["plan"]["steps"]:
            if step["urn"].endswith("kubernetes:batch/v1:Job::evalchemy"):
                step["op"] = "delete"
                del step["newState"]

    done = pull_request.previewed("dev-same", delete_job)
    assert done.returncode == 0, done.stdout
    assert "-  delete   Job evalchemy  (the evaluation)" in pull_request.comment
    assert "This removes the evaluation Job and re-runs nothing." in pull_request.comment


def test_label_that_pulumi_changes_in_place_re_runs_nothing(pull_request: PullRequest) -> None:
    def label_job(record: dict[str, Any]) -> None:
        for step in record["plan"]["steps"]:
            if step["urn"].endswith("kubernetes:batch/v1:Job::evalchemy"):
                step["op"] = "update"
                step["newState"]["inputs"]["metadata"]["labels"]["team"] = "serving"

    pull_request.previewed("dev-same", label_job)
    assert "~  update   Job evalchemy" in pull_request.comment
    assert "This re-runs nothing." in pull_request.comment


def same_list(record: dict[str, Any]) -> None:
    """Make the recorded preview one that leaves the Application as it is."""
    for step in record["plan"]["steps"]:
        if "Application" in step["urn"]:
            step["oldState"] = copy.deepcopy(step["newState"])


@pytest.mark.parametrize(
    ("with_the_list", "told"),
    [
        (False, "**This re-runs 3 models x 2 tasks**."),
        # The runner leaves out a model that is the same in another list, whatever else its Job says.
        (True, "**This re-runs 1 model x 2 tasks**: only what is new or changed of 3 models."),
    ],
)
def test_change_of_the_job_re_runs_every_model_of_the_same_list(
    pull_request: PullRequest, *, with_the_list: bool, told: str
) -> None:
    changed = MANIFESTS[JOB].replace("backoffLimitPerIndex: 2", "backoffLimitPerIndex: 5")
    assert changed != MANIFESTS[JOB]
    pull_request.change({JOB: changed})

    pull_request.previewed("prod-models", None if with_the_list else same_list, follows="main")

    assert told in pull_request.comment
    assert "+  backoffLimitPerIndex: 5" in pull_request.comment


def test_evaluation_code_re_runs_by_the_image_that_follows(pull_request: PullRequest) -> None:
    pull_request.change({CONFIG: TASKS.replace("false", "true")})

    pull_request.previewed("prod-models", follows="main")

    assert f"After the merge CI builds a new image (`{CONFIG}` changed)" in pull_request.comment
    assert "**that re-runs 3 models x 3 tasks**" in pull_request.comment


def test_evaluation_code_re_runs_a_job_of_pulumi_too(pull_request: PullRequest) -> None:
    pull_request.change({"docker/evalchemy.Dockerfile": "", "eval/x": ""})
    pull_request.previewed("dev-same")
    assert "This re-runs nothing. After the merge CI builds a new image (`docker/evalchemy.Dockerfile` and others" in (
        pull_request.comment
    )
    assert "**that re-runs 1 model x 2 tasks**" in pull_request.comment


def test_environment_that_follows_another_branch_is_not_moved_by_the_merge(pull_request: PullRequest) -> None:
    pull_request.change(
        {JOB: MANIFESTS[JOB].replace("backoffLimitPerIndex: 2", "backoffLimitPerIndex: 5"), "eval/x": ""}
    )

    done = pull_request.previewed("prod-models")

    assert done.returncode == 0, done.stdout
    assert "It follows `release`, which the merge does not move." in pull_request.comment
    assert "backoffLimitPerIndex: 5" not in pull_request.comment
    assert "CI builds" not in pull_request.comment


def test_change_outside_the_manifests_re_runs_nothing(pull_request: PullRequest) -> None:
    # `image-build` leaves prose out, too.
    pull_request.change({"docs/x.md": "words\n", "k8s/README.md": "words\n", "eval/evalchemy/README.md": "words\n"})
    pull_request.previewed("dev-same")
    assert "This re-runs nothing." in pull_request.comment
