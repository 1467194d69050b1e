"""The main job: `make up` has run, and what it promised is true."""

import json
import re
import subprocess

import pytest

from tests.e2e import benchmark, gitops
from tests.e2e.conftest import LIMIT
from workbench import commands
from workbench.cluster import evaluation, report
from workbench.cluster.kubectl import kubectl, query, rollout
from workbench.options import Options
from workbench.paths import REPOSITORY
from workbench.sandbox import ci, images, stack
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import wait_for

pytestmark = pytest.mark.e2e

MODEL = "gemma-3-270m"
TASKS = ["custom_task_1", "custom_task_2"]


def test_every_task_has_a_score_of_all_its_items(sandbox: Sandbox) -> None:
    found = report.scores(sandbox, stack.NAME)
    assert [(each.model, each.tag, each.task) for each in found] == [(MODEL, "v1", task) for task in TASKS]
    assert all(each.samples == each.expected == int(LIMIT) for each in found)
    assert re.search(rf"{MODEL} +v1 +custom_task_1 +0\.\d{{3}} ± 0\.\d{{3}} +{LIMIT}/{LIMIT}", report.table(found))


def test_prometheus_has_the_number_of_the_results_file(sandbox: Sandbox) -> None:
    run_id = gitops.job(sandbox).uid
    (file,) = (sandbox.paths.state / "volumes").glob(f"*/runs/{stack.NAME}/{MODEL}/{run_id}/result.json")
    tasks = json.loads(file.read_text())["tasks"]
    series = query(sandbox, f'vllm_eval_exact_match{{stack="{stack.NAME}"}}')
    assert {labels["task"]: value for labels, value in series} == {name: task["score"] for name, task in tasks.items()}


def test_a_preview_after_up_finds_nothing_to_do(sandbox: Sandbox) -> None:
    stack.pulumi(sandbox, "preview", "--expect-no-changes", *stack.config_file(sandbox))


def test_a_refresh_finds_no_drift(sandbox: Sandbox) -> None:
    stack.pulumi(sandbox, "refresh", "--preview-only", "--expect-no-changes", *stack.config_file(sandbox))


def test_the_application_is_synced_and_healthy(sandbox: Sandbox) -> None:
    seen = gitops.application(sandbox)
    assert (seen.sync, seen.health) == ("Synced", "Healthy")


def test_the_pod_ran_the_image_that_the_write_back_recorded(sandbox: Sandbox) -> None:
    recorded = gitops.job(sandbox).image
    name, digest = recorded.split("@")
    assert name == "ghcr.io/vllm-eval/vllm-eval-evalchemy:latest"
    assert digest == images.digest(sandbox, f"{ci.IMAGE}:latest")
    selector = "--selector=batch.kubernetes.io/job-name=evalchemy"
    path = "jsonpath={.items[*].status.containerStatuses[*].imageID}"
    pulled = kubectl(sandbox, "-n", "vllm-eval", "get", "pods", selector, "-o", path).split()
    assert pulled
    assert all(each.endswith(digest) for each in pulled)


def test_a_job_made_from_the_nightly_runs_the_same_pod(sandbox: Sandbox) -> None:
    job = json.loads(kubectl(sandbox, "-n", "vllm-eval", *evaluation.JOB))["spec"]
    words = ("create", "job", "by-hand", "--from=cronjob/evalchemy-nightly", "--dry-run=server", "-o", "json")
    made = json.loads(kubectl(sandbox, "-n", "vllm-eval", *words))["spec"]
    assert made["template"]["spec"] == job["template"]["spec"]
    assert made["template"]["metadata"]["annotations"] == job["template"]["metadata"]["annotations"]
    for field in ("completions", "parallelism", "completionMode", "backoffLimitPerIndex", "podFailurePolicy"):
        assert made[field] == job[field], field


def test_logs_and_preview_say_what_they_promise(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    commands.logs(sandbox.paths, Options("logs"))
    said = capsys.readouterr().out
    assert f"{MODEL}" in said
    assert str(sandbox.paths.logs) in said
    commands.preview(sandbox.paths, Options("preview", stack="local"))
    assert re.search(r"\d+ unchanged", capsys.readouterr().out)


def test_a_commit_beside_the_job_runs_nothing(sandbox: Sandbox) -> None:
    before = gitops.job(sandbox)
    tip = gitops.commit(sandbox, "README.md", lambda text: f"{text}\nAn edit that concerns no evaluation.\n")
    wait_for("Argo CD to see the commit", lambda: gitops.application(sandbox).revision == tip, seconds=90)
    wait_for("a synced Application", lambda: gitops.application(sandbox).sync == "Synced", seconds=60)
    assert gitops.job(sandbox) == before


def test_a_change_of_evaluation_code_runs_once_more(sandbox: Sandbox) -> None:
    # With it goes what the drill asks of the image, which is then built once.
    edit = {gitops.EDIT: lambda text: f"{text}\n# An edit of the evaluation.\n"}
    commit = gitops.commit_all(sandbox, {**edit, **benchmark.COMMIT})
    # The workflow's own script changes the manifest; the image is built from the pushed commit.
    with gitops.watched(sandbox) as seen:
        ci.build_image(sandbox, gitops.checkout(sandbox))
        after = gitops.run_of(sandbox, commit, seconds=300)
    assert after.failed is None
    assert seen.created == [after.uid], "the Job ran more than once"
    assert gitops.application(sandbox).self_heals == 0, "Argo CD healed what it had just synced"
    info = query(sandbox, f'vllm_eval_run_info{{stack="{stack.NAME}"}}')
    assert {labels["run_id"] for labels, _ in info} == {after.uid}
    assert {labels["git_commit"] for labels, _ in info} == {commit}


def test_a_dead_endpoint_is_a_failed_run_and_moves_no_score(sandbox: Sandbox) -> None:
    scores = report.scores(sandbox, stack.NAME)
    success = _value(sandbox, "vllm_eval_last_success_timestamp_seconds")
    last_run = _value(sandbox, "vllm_eval_last_run_timestamp_seconds")
    kubectl(sandbox, "-n", "serving", "scale", "deployment/model", "--replicas=0")
    kubectl(sandbox, "-n", "serving", "wait", "--for=delete", "pod", "--all", "--timeout=60s")
    try:
        _run_nightly(sandbox, "dead")
        wait_for("the failed run", lambda: _finished(sandbox, "dead") == "Failed", seconds=180)
    finally:
        kubectl(sandbox, "-n", "serving", "scale", "deployment/model", "--replicas=1")
        rollout(sandbox, "-n serving deployment/model")
    log = kubectl(sandbox, "-n", "vllm-eval", "logs", "job/dead", "--tail=20")
    assert "model.serving.svc.cluster.local:8000" in log
    wait_for("its series", lambda: _value(sandbox, "vllm_eval_last_run_timestamp_seconds") > last_run, seconds=60)
    series = query(sandbox, f'vllm_eval_run_success{{stack="{stack.NAME}"}}')
    assert {labels["task"]: value for labels, value in series} == dict.fromkeys(TASKS, 0.0)
    assert report.scores(sandbox, stack.NAME) == scores
    assert _value(sandbox, "vllm_eval_last_success_timestamp_seconds") == success


def test_up_again_runs_nothing(sandbox: Sandbox) -> None:
    before = gitops.job(sandbox)
    stack.pulumi(sandbox, "up", "--yes", "--skip-preview", "--expect-no-changes", *stack.config_file(sandbox))
    assert gitops.job(sandbox) == before


def _value(sandbox: Sandbox, metric: str) -> float:
    ((_, value),) = query(sandbox, f'{metric}{{stack="{stack.NAME}"}}')
    return value


def _run_nightly(sandbox: Sandbox, name: str) -> None:
    """Start the nightly's Job by hand, with little patience for the endpoint and no second try."""
    words = [
        "-n",
        "vllm-eval",
        "create",
        "job",
        name,
        "--from=cronjob/evalchemy-nightly",
        "--dry-run=client",
        "-o",
        "json",
    ]
    manifest = json.loads(kubectl(sandbox, *words))
    manifest["spec"]["backoffLimitPerIndex"] = 0
    environment = manifest["spec"]["template"]["spec"]["containers"][0]["env"]
    environment.append({"name": "VLLM_EVAL_ENDPOINT_WAIT_SECONDS", "value": "5"})
    kubectl(sandbox, "apply", "-f", "-", stdin=json.dumps(manifest))


def _finished(sandbox: Sandbox, name: str) -> str:
    path = 'jsonpath={.status.conditions[?(@.status=="True")].type}'
    ends = kubectl(sandbox, "-n", "vllm-eval", "get", "job", name, "-o", path).split()
    return next((end for end in ends if end in ("Complete", "Failed")), "")


def test_the_readme_shows_the_table_that_up_prints(sandbox: Sandbox) -> None:
    header = report.table(report.scores(sandbox, stack.NAME)).splitlines()[0]
    assert header.split() in [line.split() for line in (REPOSITORY / "README.md").read_text().splitlines()]


def test_the_initial_password_command_works(sandbox: Sandbox) -> None:
    outputs = json.loads(stack.pulumi(sandbox, "stack", "output", "--json"))
    command = sandbox.command(["sh", "-c", outputs["argocd_password_command"]])
    done = subprocess.run(command, env=sandbox.env(), capture_output=True, text=True, check=True)
    assert len(done.stdout) >= 8
