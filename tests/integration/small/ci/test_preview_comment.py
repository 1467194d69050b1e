"""The comment on a pull request: what it says, when it is red, and that it is one."""

import json
from typing import Any

from tests.support.ci.pull_request import JOB, MANIFESTS, MARKER, PullRequest


def test_nothing_changed_is_green_and_says_so(pull_request: PullRequest) -> None:
    done = pull_request.previewed("dev-same")

    assert done.returncode == 0, done.stderr
    assert "### dev\n\nThis re-runs nothing.\n\n`pulumi up` changes nothing (26 objects)." in pull_request.comment
    assert "Argo CD syncs the same objects as before." in pull_request.comment


def test_first_deployment_runs_everything_once(pull_request: PullRequest) -> None:
    done = pull_request.previewed("dev-first")
    assert done.returncode == 0, done.stderr
    assert "**This runs 1 model x 2 tasks** for the first time." in pull_request.comment
    assert "`pulumi up` changes 26 of 26 objects" in pull_request.comment
    assert "+kind: CronJob" in pull_request.comment


def test_one_comment_is_kept_up_to_date_and_a_quoting_person_keeps_theirs(pull_request: PullRequest) -> None:
    for number in range(120):
        pull_request.server.add_comment(f"remark {number}", "User")
    quote = f"> {MARKER}"
    pull_request.server.add_comment(MARKER.replace("preview", "other"), "Bot")
    pull_request.server.add_comment(quote, "User")
    pull_request.previewed("dev-first")
    done = pull_request.previewed("dev-same")

    assert "comment updated" in done.stdout
    assert "changes nothing" in pull_request.comment
    assert len(pull_request.server.comments) == 123
    assert pull_request.server.comments[121]["body"] == quote


def test_a_person_who_begins_with_the_marker_keeps_their_comment(pull_request: PullRequest) -> None:
    pull_request.server.add_comment(f"{MARKER} is a nice marker", "User")
    pull_request.previewed("dev-same")
    assert [each["user"]["type"] for each in pull_request.server.comments] == ["User", "Bot"]
    assert pull_request.server.comments[0]["body"] == f"{MARKER} is a nice marker"


def test_replacement_is_red_without_the_label_and_the_evaluation_is_excepted(pull_request: PullRequest) -> None:
    done = pull_request.previewed("dev-replace")

    assert done.returncode == 1
    assert "::error::dev: would replace vllm-eval-results without the label allow-destroy" in done.stdout
    assert "**Destroys**: replace vllm-eval-results. Add the label `allow-destroy`" in pull_request.comment
    assert (
        "+- replace  PersistentVolumeClaim vllm-eval-results  because of spec.resources.requests.storage"
        in pull_request.comment
    )
    assert "Job evalchemy  (the evaluation)" in pull_request.comment
    assert "**This re-runs 1 model x 2 tasks**.\n" in pull_request.comment


def test_the_label_allows_it(pull_request: PullRequest) -> None:
    pull_request.labels = ["other", "allow-destroy"]
    done = pull_request.previewed("dev-replace")
    assert done.returncode == 0, done.stdout
    assert "Allowed by the label `allow-destroy`." in pull_request.comment


def test_only_the_evaluation_replaced_is_green(pull_request: PullRequest) -> None:
    def without_claim(record: dict[str, Any]) -> None:
        steps = record["plan"]["steps"]
        record["plan"]["steps"] = [step for step in steps if "PersistentVolumeClaim" not in step["urn"]]

    done = pull_request.previewed("dev-replace", without_claim)
    assert done.returncode == 0, done.stdout
    assert "Destroys" not in pull_request.comment


def test_deletions_are_named_but_components_and_retained_objects_are_no_loss(pull_request: PullRequest) -> None:
    def retain_claim(record: dict[str, Any]) -> None:
        for step in record["plan"]["steps"]:
            if "PersistentVolumeClaim" in step["urn"] and step["op"] == "delete":
                step["oldState"]["retainOnDelete"] = True

    done = pull_request.previewed("prod-delete", retain_claim)

    assert done.returncode == 1
    problem = next(line for line in done.stdout.splitlines() if line.startswith("::error::"))
    assert "delete vllm-eval" in problem
    assert "PersistentVolumeClaim vllm-eval-pushgateway  (nothing in the cluster is deleted)" in pull_request.comment
    assert "Dashboard dashboard  (nothing in the cluster is deleted)" in pull_request.comment
    destroyed = pull_request.comment.partition("**Destroys**: ")[2].partition(". Add")[0].split(", ")
    assert len(destroyed) == 6, destroyed
    assert "delete dashboard" not in destroyed


def test_failed_preview_is_red_with_its_reason_once(pull_request: PullRequest) -> None:
    done = pull_request.previewed("dev-failed")

    assert done.returncode == 1
    assert "::error::dev: the preview failed" in done.stdout
    assert pull_request.comment.count('vllm-eval:evaluation.owner = "helm"') == 1
    assert "cure: pulumi config set" in pull_request.comment


def test_preview_that_never_wrote_is_red(pull_request: PullRequest) -> None:
    pull_request.record("dev", "dev-same")
    done = pull_request.run("dev", "prod")
    assert done.returncode == 1
    assert "prod.json is missing: the preview's job ended before it could write it" in pull_request.comment


def test_unknown_revision_is_red_by_name(pull_request: PullRequest) -> None:
    done = pull_request.previewed("prod-models", follows="gone")
    assert done.returncode == 1
    assert "follows 'gone', which is no branch, tag or commit" in pull_request.comment


def test_manifests_that_kustomize_refuses_are_red(pull_request: PullRequest) -> None:
    pull_request.change({JOB: MANIFESTS[JOB].replace("  name: evalchemy\n", "  name: renamed\n", 1)})
    done = pull_request.previewed("prod-models", follows="main")
    assert done.returncode == 1
    assert "kustomize refuses k8s" in pull_request.comment


def test_setting_of_the_application_that_cannot_be_rendered_is_red(pull_request: PullRequest) -> None:
    def add(record: dict[str, Any]) -> None:
        for step in record["plan"]["steps"]:
            if step["urn"].endswith("::application"):
                step["newState"]["inputs"]["spec"]["source"]["kustomize"]["namePrefix"] = "x-"

    assert pull_request.previewed("prod-models", add, follows="main").returncode == 1
    assert "source.kustomize.namePrefix, which the preview cannot render" in pull_request.comment


def test_text_of_the_pull_request_cannot_leave_its_code_block(pull_request: PullRequest) -> None:
    evil = MANIFESTS[JOB].replace("metadata:\n", 'metadata:\n  annotations: {x: "````\\n# Approved"}\n', 1)
    evil = evil.replace("  annotations:\n    #", "  other:\n    #", 1)
    pull_request.change({JOB: evil})
    pull_request.previewed("prod-models", follows="main")
    fences = [line for line in pull_request.comment.splitlines() if line.startswith("`")]
    assert "`````diff" in fences


def test_hundreds_of_changes_in_four_environments_fit_into_a_comment(pull_request: PullRequest) -> None:
    stacks = [f"stack-{number}" for number in range(4)]

    def multiply(record: dict[str, Any]) -> None:
        step = next(each for each in record["plan"]["steps"] if "PersistentVolumeClaim" in each["urn"])
        for number in range(600):
            copied = json.loads(json.dumps(step).replace("vllm-eval-results", f"claim-{number}-{'x' * 40}"))
            copied["urn"] += str(number)
            record["plan"]["steps"].append(copied)

    for stack in stacks:
        pull_request.record(stack, "dev-replace")
        pull_request.edit(stack, multiply)
    done = pull_request.run(*stacks)
    assert done.returncode == 1
    assert len(pull_request.comment) < 65_536
    assert "… cut here" in pull_request.comment
    assert all(f"### {stack}\n" in pull_request.comment for stack in stacks)
    assert sum(line.startswith("```") for line in pull_request.comment.splitlines()) % 2 == 0


def test_refused_comment_is_told(pull_request: PullRequest) -> None:
    pull_request.server.refuse = 403
    done = pull_request.previewed("dev-same")
    assert done.returncode == 2
    assert "403" in done.stderr
    assert "Resource not accessible by integration" in done.stderr
    assert "This re-runs nothing." in (pull_request.world.folder / "summary").read_text(encoding="utf-8")


def test_fork_gets_a_sentence_and_no_call(pull_request: PullRequest) -> None:
    done = pull_request.run(extra=("--no-secrets",))
    assert done.returncode == 0
    assert "a pull request from a fork" in (pull_request.world.folder / "summary").read_text(encoding="utf-8")
    assert pull_request.server.writes == 0


def test_stacks_must_be_a_list_of_names(pull_request: PullRequest) -> None:
    done = pull_request.run(extra=("--stacks", '["../x"]'))
    assert done.returncode == 2
    assert "must be a JSON list of stack names" in done.stderr
