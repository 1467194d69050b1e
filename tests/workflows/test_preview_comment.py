"""The comment on a pull request, from what the real engine said, in a real repository, to a GitHub on loopback."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.workflows.git_world import REPOSITORY, World
from tests.workflows.github_server import NUMBER, TOKEN, GitHubServer, github_server
from tests.workflows.github_server import REPOSITORY as GITHUB_REPOSITORY

DATA: Final = Path(__file__).parent / "data"
SCRIPTS: Final = REPOSITORY / ".github" / "scripts"
MARKER: Final = "<!-- vllm-eval preview -->"
CONFIG: Final = "eval/evalchemy/configs/eval_config.json"
JOB: Final = "k8s/evalchemy-job.yaml"
MANIFESTS: Final = {
    str(path.relative_to(REPOSITORY)): path.read_text(encoding="utf-8")
    for path in sorted((REPOSITORY / "k8s").glob("*.yaml"))
}
TASKS: Final = json.dumps({"one": {"enabled": True}, "two": {"enabled": True}, "three": {"enabled": False}})


@dataclass
class PullRequest:
    """A pull request from `topic` to `main`, its records, and the script run on them."""

    world: World
    server: GitHubServer
    labels: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clone = self.world.clone()
        self.base = self.world.change(self.clone, {**MANIFESTS, CONFIG: TASKS}, "Base")
        self.world.git(self.clone, "push", "--quiet", "origin", "HEAD:refs/heads/release")
        self.world.git(self.clone, "fetch", "--quiet", "origin")
        self.head = self.base
        self.records = self.world.folder / "records"
        self.records.mkdir()

    def change(self, files: dict[str, str]) -> None:
        """Add a commit to the pull request."""
        self.head = self.world.change(self.clone, files, "Topic", push=False)

    def record(self, stack: str, name: str, **changed: str) -> None:
        """Take a recorded preview as that of a stack; `follows` replaces the Application's revision."""
        text = (DATA / f"{name}.json").read_text(encoding="utf-8")
        if "follows" in changed:
            text = text.replace('"targetRevision": "release"', f'"targetRevision": "{changed["follows"]}"')
        (self.records / f"{stack}.json").write_text(text, encoding="utf-8")

    def edit(self, stack: str, edit: Callable[[dict[str, Any]], None]) -> None:
        """Change a record's plan by a function."""
        path = self.records / f"{stack}.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        edit(record)
        path.write_text(json.dumps(record), encoding="utf-8")

    def run(self, *stacks: str, extra: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run the script as the workflow does."""
        event = {
            "pull_request": {
                "number": NUMBER,
                "labels": [{"name": label} for label in self.labels],
                "base": {"ref": "main", "sha": self.base},
                "head": {"sha": "0" * 40},
            }
        }
        file = self.world.folder / "event.json"
        file.write_text(json.dumps(event), encoding="utf-8")
        env = {
            **self.world.environment,
            "GITHUB_EVENT_PATH": str(file),
            "GITHUB_STEP_SUMMARY": str(self.world.folder / "summary"),
            "GITHUB_API_URL": self.server.url,
            "GITHUB_REPOSITORY": GITHUB_REPOSITORY,
            "GITHUB_TOKEN": TOKEN,
        }
        command = [
            *(sys.executable, "-W", "error", str(SCRIPTS / "preview_comment.py"), "--stacks", json.dumps(stacks)),
            *("--records", str(self.records), "--repository", str(self.clone), "--head", self.head, *extra),
        ]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)

    @property
    def comment(self) -> str:
        """The one comment that the script has written."""
        written = [str(each["body"]) for each in self.server.comments if str(each["body"]).startswith(MARKER)]
        assert len(written) == 1
        return written[0]


@pytest.fixture
def pull_request(tmp_path: Path) -> Iterator[PullRequest]:
    with github_server() as server:
        yield PullRequest(World(tmp_path), server)


def test_nothing_changed_is_green_and_says_so(pull_request: PullRequest) -> None:
    pull_request.record("dev", "dev-same")

    done = pull_request.run("dev")

    assert done.returncode == 0, done.stderr
    assert "### dev\n\nThis re-runs nothing.\n\n`pulumi up` changes nothing (26 objects)." in pull_request.comment
    assert "Argo CD syncs the same objects as before." in pull_request.comment


def test_first_deployment_runs_everything_once(pull_request: PullRequest) -> None:
    pull_request.record("dev", "dev-first")
    done = pull_request.run("dev")
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
    pull_request.record("dev", "dev-first")
    pull_request.run("dev")
    pull_request.record("dev", "dev-same")

    done = pull_request.run("dev")

    assert "comment updated" in done.stdout
    assert "changes nothing" in pull_request.comment
    assert len(pull_request.server.comments) == 123
    assert pull_request.server.comments[121]["body"] == quote


def test_a_person_who_begins_with_the_marker_keeps_their_comment(pull_request: PullRequest) -> None:
    pull_request.server.add_comment(f"{MARKER} is a nice marker", "User")
    pull_request.record("dev", "dev-same")
    pull_request.run("dev")
    assert [each["user"]["type"] for each in pull_request.server.comments] == ["User", "Bot"]
    assert pull_request.server.comments[0]["body"] == f"{MARKER} is a nice marker"


def test_replacement_is_red_without_the_label_and_the_evaluation_is_excepted(pull_request: PullRequest) -> None:
    pull_request.record("dev", "dev-replace")

    done = pull_request.run("dev")

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
    pull_request.record("dev", "dev-replace")
    done = pull_request.run("dev")
    assert done.returncode == 0, done.stdout
    assert "Allowed by the label `allow-destroy`." in pull_request.comment


def test_only_the_evaluation_replaced_is_green(pull_request: PullRequest) -> None:
    pull_request.record("dev", "dev-replace")

    def without_claim(record: dict[str, Any]) -> None:
        steps = record["plan"]["steps"]
        record["plan"]["steps"] = [step for step in steps if "PersistentVolumeClaim" not in step["urn"]]

    pull_request.edit("dev", without_claim)
    done = pull_request.run("dev")
    assert done.returncode == 0, done.stdout
    assert "Destroys" not in pull_request.comment


def test_deletions_are_named_but_components_and_retained_objects_are_no_loss(pull_request: PullRequest) -> None:
    pull_request.record("prod", "prod-delete")

    def retain_claim(record: dict[str, Any]) -> None:
        for step in record["plan"]["steps"]:
            if "PersistentVolumeClaim" in step["urn"] and step["op"] == "delete":
                step["oldState"]["retainOnDelete"] = True

    pull_request.edit("prod", retain_claim)
    done = pull_request.run("prod")

    assert done.returncode == 1
    problem = next(line for line in done.stdout.splitlines() if line.startswith("::error::"))
    assert "delete vllm-eval" in problem
    assert "PersistentVolumeClaim vllm-eval-pushgateway  (nothing in the cluster goes)" in pull_request.comment
    assert "Dashboard dashboard  (nothing in the cluster goes)" in pull_request.comment
    destroyed = pull_request.comment.partition("**Destroys**: ")[2].partition(". Add")[0].split(", ")
    assert len(destroyed) == 6, destroyed
    assert "delete dashboard" not in destroyed


def test_failed_preview_is_red_with_its_reason_once(pull_request: PullRequest) -> None:
    pull_request.record("dev", "dev-failed")

    done = pull_request.run("dev")

    assert done.returncode == 1
    assert "::error::dev: the preview failed" in done.stdout
    assert pull_request.comment.count('vllm-eval:evaluation.owner = "helm"') == 1
    assert "cure: pulumi config set" in pull_request.comment


def test_preview_that_never_wrote_is_red(pull_request: PullRequest) -> None:
    pull_request.record("dev", "dev-same")
    done = pull_request.run("dev", "prod")
    assert done.returncode == 1
    assert "prod.json is missing: the preview's job ended before it could write it" in pull_request.comment


def test_new_model_evaluates_only_that_one(pull_request: PullRequest) -> None:
    pull_request.record("prod", "prod-models", follows="main")

    done = pull_request.run("prod")

    assert done.returncode == 0, done.stdout
    assert "**This re-runs 1 model x 2 tasks**: only what is new or changed of 3 models." in pull_request.comment
    assert "+  completions: 3" in pull_request.comment
    # The nightly copies the Job's spec: the patches were applied before the replacement.
    assert pull_request.comment.count("+      completions: 3") == 1


def swap_sides(record: dict[str, Any]) -> None:
    """Make the recorded preview that of the way back."""
    for step in record["plan"]["steps"]:
        step["oldState"], step["newState"] = step.get("newState"), step.get("oldState")


def test_retired_model_evaluates_nothing(pull_request: PullRequest) -> None:
    pull_request.record("prod", "prod-models", follows="main")
    pull_request.edit("prod", swap_sides)
    pull_request.run("prod")
    assert "This re-creates the Job, which has no new model to evaluate." in pull_request.comment


def test_removed_job_re_runs_nothing_and_needs_no_label(pull_request: PullRequest) -> None:
    pull_request.record("dev", "dev-same")

    def delete_job(record: dict[str, Any]) -> None:
        for step in record["plan"]["steps"]:
            if step["urn"].endswith("kubernetes:batch/v1:Job::evalchemy"):
                step["op"] = "delete"
                del step["newState"]

    pull_request.edit("dev", delete_job)
    done = pull_request.run("dev")
    assert done.returncode == 0, done.stdout
    assert "-  delete   Job evalchemy  (the evaluation)" in pull_request.comment
    assert "This removes the evaluation Job and re-runs nothing." in pull_request.comment


def test_label_that_pulumi_changes_in_place_re_runs_nothing(pull_request: PullRequest) -> None:
    pull_request.record("dev", "dev-same")

    def label_job(record: dict[str, Any]) -> None:
        for step in record["plan"]["steps"]:
            if step["urn"].endswith("kubernetes:batch/v1:Job::evalchemy"):
                step["op"] = "update"
                step["newState"]["inputs"]["metadata"]["labels"]["team"] = "serving"

    pull_request.edit("dev", label_job)
    pull_request.run("dev")
    assert "~  update   Job evalchemy" in pull_request.comment
    assert "This re-runs nothing." in pull_request.comment


def test_change_of_the_job_re_runs_every_model(pull_request: PullRequest) -> None:
    pull_request.record("prod", "prod-models", follows="main")
    changed = MANIFESTS[JOB].replace("backoffLimitPerIndex: 2", "backoffLimitPerIndex: 5")
    assert changed != MANIFESTS[JOB]
    pull_request.change({JOB: changed})

    pull_request.run("prod")

    assert "**This re-runs 3 models x 2 tasks**." in pull_request.comment
    assert "+  backoffLimitPerIndex: 5" in pull_request.comment


def test_evaluation_code_re_runs_by_the_image_that_follows(pull_request: PullRequest) -> None:
    pull_request.record("prod", "prod-models", follows="main")
    pull_request.change({CONFIG: TASKS.replace("false", "true")})

    pull_request.run("prod")

    assert f"After the merge CI builds a new image (`{CONFIG}` changed)" in pull_request.comment
    assert "**that re-runs 3 models x 3 tasks**" in pull_request.comment


def test_evaluation_code_re_runs_a_job_of_pulumi_too(pull_request: PullRequest) -> None:
    pull_request.record("dev", "dev-same")
    pull_request.change({"docker/evalchemy.Dockerfile": "", "eval/x": ""})
    pull_request.run("dev")
    assert "This re-runs nothing. After the merge CI builds a new image (`docker/evalchemy.Dockerfile` and others" in (
        pull_request.comment
    )
    assert "**that re-runs 1 model x 2 tasks**" in pull_request.comment


def test_environment_that_follows_another_branch_is_not_moved_by_the_merge(pull_request: PullRequest) -> None:
    pull_request.record("prod", "prod-models")
    pull_request.change(
        {JOB: MANIFESTS[JOB].replace("backoffLimitPerIndex: 2", "backoffLimitPerIndex: 5"), "eval/x": ""}
    )

    done = pull_request.run("prod")

    assert done.returncode == 0, done.stdout
    assert "It follows `release`, which the merge does not move." in pull_request.comment
    assert "backoffLimitPerIndex: 5" not in pull_request.comment
    assert "CI builds" not in pull_request.comment


def test_change_outside_the_manifests_re_runs_nothing(pull_request: PullRequest) -> None:
    pull_request.record("dev", "dev-same")
    pull_request.change({"docs/x.md": "words\n", "k8s/README.md": "words\n"})
    pull_request.run("dev")
    assert "This re-runs nothing." in pull_request.comment


def test_unknown_revision_is_red_by_name(pull_request: PullRequest) -> None:
    pull_request.record("prod", "prod-models", follows="gone")
    done = pull_request.run("prod")
    assert done.returncode == 1
    assert "follows 'gone', which is no branch, tag or commit" in pull_request.comment


def test_manifests_that_kustomize_refuses_are_red(pull_request: PullRequest) -> None:
    pull_request.record("prod", "prod-models", follows="main")
    pull_request.change({JOB: MANIFESTS[JOB].replace("  name: evalchemy\n", "  name: renamed\n", 1)})
    done = pull_request.run("prod")
    assert done.returncode == 1
    assert "kustomize refuses k8s" in pull_request.comment


def test_setting_of_the_application_that_cannot_be_rendered_is_red(pull_request: PullRequest) -> None:
    pull_request.record("prod", "prod-models", follows="main")

    def add(record: dict[str, Any]) -> None:
        for step in record["plan"]["steps"]:
            if step["urn"].endswith("::application"):
                step["newState"]["inputs"]["spec"]["source"]["kustomize"]["namePrefix"] = "x-"

    pull_request.edit("prod", add)
    assert pull_request.run("prod").returncode == 1
    assert "source.kustomize.namePrefix, which the preview cannot render" in pull_request.comment


def test_text_of_the_pull_request_cannot_leave_its_code_block(pull_request: PullRequest) -> None:
    pull_request.record("prod", "prod-models", follows="main")
    evil = MANIFESTS[JOB].replace("metadata:\n", 'metadata:\n  annotations: {x: "````\\n# Approved"}\n', 1)
    evil = evil.replace("  annotations:\n    #", "  other:\n    #", 1)
    pull_request.change({JOB: evil})
    pull_request.run("prod")
    fences = [line for line in pull_request.comment.splitlines() if line.startswith("`")]
    assert "`````diff" in fences


def test_hundred_changes_in_ten_environments_fit_into_a_comment(pull_request: PullRequest) -> None:
    stacks = [f"stack-{number}" for number in range(10)]

    def multiply(record: dict[str, Any]) -> None:
        step = next(each for each in record["plan"]["steps"] if "PersistentVolumeClaim" in each["urn"])
        for number in range(300):
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
    pull_request.record("dev", "dev-same")
    done = pull_request.run("dev")
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


def start_workflow(server: GitHubServer, *words: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": "", "GITHUB_API_URL": server.url, "GITHUB_REPOSITORY": GITHUB_REPOSITORY, "GITHUB_TOKEN": TOKEN}
    command = [sys.executable, "-W", "error", str(SCRIPTS / "start_workflow.py"), *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_deployment_is_started_after_a_write_back() -> None:
    with github_server() as server:
        done = start_workflow(server, "deploy.yml", "--ref", "main", "--input", "stack=dev")
        assert done.returncode == 0, done.stderr
        assert server.dispatches == [("deploy.yml", {"ref": "main", "inputs": {"stack": "dev"}})]
        server.refuse = 403
        assert start_workflow(server, "deploy.yml").returncode == 1


def test_records_come_from_a_preview(tmp_path: Path) -> None:
    """The engine itself answers here: a stack that does not exist is a failed preview, with the engine's words."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: x\nruntime: yaml\n", encoding="utf-8")
    state = tmp_path / "state"
    state.mkdir()
    output = tmp_path / "out" / "dev.json"
    pulumi = shutil.which("pulumi")
    assert pulumi is not None
    env = {
        "PATH": str(Path(pulumi).parent),
        "HOME": str(tmp_path),
        "PULUMI_BACKEND_URL": f"file://{state}",
        "PULUMI_CONFIG_PASSPHRASE": "x",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    command = [sys.executable, str(SCRIPTS / "pulumi_stack.py"), "preview", "--stack", "dev", "--output", str(output)]

    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    record = json.loads(output.read_text(encoding="utf-8"))
    assert record["plan"] is None
    assert record["exit_code"] != 0
    assert "no stack named 'dev' found" in record["log"]

    without = {name: value for name, value in env.items() if name != "PULUMI_BACKEND_URL"}
    command[2:] = ["up", "--stack", "dev"]
    refused = subprocess.run(command, cwd=project, env=without, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "PULUMI_BACKEND_URL" in refused.stderr
