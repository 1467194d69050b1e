"""A push evaluates again, nothing else does, and what goes wrong on the way heals or says why.

All of it with the real Argo CD on the sandbox's cluster. The model is one whose
answers are known, so that a run takes seconds.
"""

import json
import re
import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from components import labels
from components.argocd import SELF_HEAL
from components.labels import MODELS_ANNOTATION
from tests.e2e import gitops, pods
from tests.e2e.conftest import LIMIT
from tests.e2e.endpoints import IMAGE, Endpoint
from workbench.cluster import evaluation, report
from workbench.cluster.kubectl import kubectl, query
from workbench.sandbox import ci, git, images, stack
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import CommandError, WorkbenchError, wait_for

pytestmark = pytest.mark.e2e

GEMMA = "gemma-3-270m"
TASKS = 2
ITEMS = TASKS * int(LIMIT)
JOB_FILE = "k8s/evalchemy-job.yaml"
# Longer than self-heal waits after a sync, and a look at Git: what would run a Job again has done so by then.
QUIET_SECONDS = float(SELF_HEAL["controller.self.heal.timeout.seconds"]) + 10
READY = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
GATEWAY = "http://vllm-eval-pushgateway.vllm-eval:9091"


@pytest.fixture(scope="module")
def steady(sandbox: Sandbox) -> Endpoint:
    """A model of known answers."""
    # A name of its own: in a sandbox that is kept from an earlier test, an old one has runs.
    endpoint = Endpoint(sandbox, f"steady-{secrets.token_hex(2)}")
    endpoint.start()
    endpoint.plan(accuracy=0.8)
    return endpoint


@pytest.fixture
def alone(sandbox: Sandbox, steady: Endpoint) -> Endpoint:
    """The model as the stack's only one, with its Job finished."""
    before = gitops.job(sandbox)
    annotations = "jsonpath={.spec.template.metadata.annotations}"
    listed = kubectl(sandbox, "-n", "vllm-eval", "get", "job", "evalchemy", "-o", annotations)
    if {each["name"] for each in json.loads(json.loads(listed)[MODELS_ANNOTATION])} != {steady.name}:
        deploy(sandbox, [steady.settings()])
        gitops.next_run(sandbox, before.uid)
    return steady


@pytest.fixture
def quick(alone: Endpoint) -> Iterator[Endpoint]:
    """The only model, answering at once again after the test, whatever it did."""
    yield alone
    alone.plan(accuracy=0.8, latency=0.0, models=[alone.name], faults=[])


def deploy(sandbox: Sandbox, models: list[dict[str, Any]], **values: Any) -> str:  # noqa: ANN401 -- settings
    """Run `pulumi up` with these models, and values of the group `evaluation`."""
    return gitops.deploy(sandbox, models=models, evaluation={"limit": int(LIMIT), **values})


def models_in_prometheus(sandbox: Sandbox, name: str) -> set[str]:
    """Return the models that have a score in a stack."""
    return {labels["model"] for labels, _ in query(sandbox, f'vllm_eval_exact_match{{stack="{name}"}}')}


def test_the_series_of_a_retired_model_vanish_and_those_of_another_stack_stay(
    sandbox: Sandbox, steady: Endpoint
) -> None:
    pushed = '# TYPE vllm_eval_exact_match gauge\nvllm_eval_exact_match{task="custom_task_1",model_tag="x"} 0.5\n'
    at_gateway(sandbox, f"replace('theirs', {GEMMA!r}, {pushed!r})")
    wait_for("the other stack's score", lambda: models_in_prometheus(sandbox, "theirs"), seconds=180)
    assert GEMMA in models_in_prometheus(sandbox, stack.NAME)
    before = gitops.job(sandbox)
    deploy(sandbox, [steady.settings()])
    assert gitops.next_run(sandbox, before.uid).failed is None
    wait_for("the retired model's end", lambda: models_in_prometheus(sandbox, stack.NAME) == {steady.name}, seconds=180)
    assert models_in_prometheus(sandbox, "theirs") == {GEMMA}
    at_gateway(sandbox, f"delete('theirs', {GEMMA!r})")


def test_a_new_model_is_evaluated_alone(sandbox: Sandbox, steady: Endpoint) -> None:
    newcomer = Endpoint(sandbox, f"newcomer-{secrets.token_hex(2)}")
    newcomer.start()
    before, ran = gitops.job(sandbox), set(gitops.runs(sandbox, steady.name))
    steady.forget()
    deploy(sandbox, [steady.settings(), newcomer.settings()])
    after = gitops.next_run(sandbox, before.uid)
    assert after.failed is None
    assert after.git_commit == before.git_commit
    assert (steady.asked(), newcomer.asked()) == (0, ITEMS)
    assert list(gitops.runs(sandbox, newcomer.name)) == [after.uid]
    assert set(gitops.runs(sandbox, steady.name)) == ran
    assert models_in_prometheus(sandbox, stack.NAME) == {steady.name, newcomer.name}


def at_gateway(sandbox: Sandbox, call: str) -> None:
    """Call the runner's own client of the Pushgateway, in a pod that may reach it."""
    script = f"from vllm_eval.gateway import Gateway; Gateway({GATEWAY!r}, wait=30).{call}"
    pods.python(sandbox, script, namespace="vllm-eval", labels=labels.selector(labels.EVALUATION))


def test_a_finished_job_survives_ten_looks_a_sync_by_hand_and_a_new_controller(
    sandbox: Sandbox, alone: Endpoint
) -> None:
    before = gitops.job(sandbox)
    controller = "argocd-application-controller-0"
    with gitops.watched(sandbox) as seen:
        for _ in range(10):
            gitops.refresh(sandbox, hard=True)
        by_hand = {
            "operation": {"initiatedBy": {"username": "somebody"}, "sync": {"syncOptions": sync_options(sandbox)}}
        }
        application = ("-n", "argocd", "patch", "application", "vllm-evalchemy-job")
        earlier = gitops.application(sandbox).started
        kubectl(sandbox, *application, "--type=merge", "-p", json.dumps(by_hand))
        wait_for("the sync", lambda: synced_since(sandbox, earlier), seconds=180)
        kubectl(sandbox, "-n", "argocd", "delete", "pod", controller)
        ready = ("-n", "argocd", "get", "pod", controller, "--ignore-not-found", "-o", READY)
        wait_for("the new controller", lambda: kubectl(sandbox, *ready) == "True", seconds=180)
        gitops.refresh(sandbox, hard=True)
        time.sleep(QUIET_SECONDS)
    assert seen.created == []
    assert gitops.job(sandbox) == before


def synced_since(sandbox: Sandbox, earlier: str) -> bool:
    """Tell whether a sync that began after an earlier one has succeeded."""
    seen = gitops.application(sandbox)
    return seen.phase == "Succeeded" and seen.started != earlier


def sync_options(sandbox: Sandbox) -> list[str]:
    """Return the Application's own options, which the UI and the CLI hand on."""
    found = evaluation.application(sandbox)
    assert found is not None
    return list(found["spec"]["syncPolicy"]["syncOptions"])


def test_what_somebody_does_to_the_job_is_put_right_by_one_run(sandbox: Sandbox, alone: Endpoint) -> None:
    runs = [gitops.job(sandbox).uid]
    edit = ("patch", "job", "evalchemy", "--type=merge", "-p", '{"spec": {"parallelism": 3}}')
    with gitops.watched(sandbox) as seen:
        for by_hand in (("delete", "job", "evalchemy"), edit):
            kubectl(sandbox, "-n", "vllm-eval", *by_hand)
            after = gitops.next_run(sandbox, runs[-1])
            assert after.failed is None
            runs.append(after.uid)
        time.sleep(QUIET_SECONDS)
    assert (seen.created, seen.most) == (runs[1:], 1)
    assert kubectl(sandbox, "-n", "vllm-eval", "get", "job", "evalchemy", "-o", "jsonpath={.spec.parallelism}") == "1"


def test_a_failed_run_degrades_the_application_and_the_next_commit_recovers(sandbox: Sandbox, quick: Endpoint) -> None:
    scores = report.scores(sandbox, stack.NAME)
    quick.plan(models=["another-model"])
    failed = gitops.run_of(sandbox, gitops.push_evaluation(sandbox))
    assert failed.failed
    wait_for("a degraded Application", lambda: gitops.application(sandbox).health == "Degraded", seconds=180)
    assert "another-model" in gitops.last_lines(sandbox)
    assert report.scores(sandbox, stack.NAME) == scores

    quick.plan(models=[quick.name])
    assert gitops.run_of(sandbox, gitops.push_evaluation(sandbox)).failed is None
    wait_for("a healthy Application", lambda: gitops.application(sandbox).health == "Healthy", seconds=180)


def test_a_manifest_that_kustomize_refuses_leaves_the_running_evaluation_alone(
    sandbox: Sandbox, quick: Endpoint
) -> None:
    quick.plan(latency=2.0)
    pushed = gitops.push_evaluation(sandbox)
    wait_for("the evaluation to ask", lambda: evaluating(sandbox, pushed), seconds=180)
    kustomization = "k8s/kustomization.yaml"
    broken = "resources: [there-is-no-such-file.yaml]\n"
    with gitops.watched(sandbox) as seen:
        gitops.commit(sandbox, kustomization, lambda text: f"{text}\n{broken}")
        gitops.refresh(sandbox)
        told = wait_for("the reason", lambda: gitops.application(sandbox).conditions, seconds=180)
        assert "kustomize build" in told
        assert gitops.run_of(sandbox, pushed).failed is None
        gitops.commit(sandbox, kustomization, lambda text: text.removesuffix(f"\n{broken}"))
        gitops.refresh(sandbox)
        wait_for("a good Application", lambda: not gitops.application(sandbox).conditions, seconds=180)
        wait_for("a synced Application", lambda: gitops.application(sandbox).sync == "Synced", seconds=180)
    assert seen.created == []


def evaluating(sandbox: Sandbox, commit: str) -> bool:
    """Tell whether the run of a commit has begun to ask its model."""
    found = evaluation.job(sandbox)
    return bool(found and found.git_commit == commit and "answers" in evaluation.progress(sandbox))


def test_a_manifest_that_the_api_server_refuses_is_caught_before_the_push_and_healed_by_the_next_commit(
    sandbox: Sandbox, quick: Endpoint
) -> None:
    before = gitops.job(sandbox)
    bad = gitops.commit(
        sandbox, JOB_FILE, lambda text: text.replace("restartPolicy: Never", "restartPolicy: Sometimes")
    )
    # CI's script, with the check that the workflow gives it.
    with pytest.raises(WorkbenchError, match=r"Unsupported value: \"Sometimes\""):
        ci.write_back(sandbox, bad, images.digest(sandbox, f"{ci.IMAGE}:latest"), validate=True)
    assert git.tip(sandbox) == bad, "the write-back pushed a manifest that no server takes"

    gitops.refresh(sandbox)
    refused = wait_for("the refusal", lambda: refusal(sandbox), seconds=180)
    assert "Sometimes" in refused
    good = gitops.commit(
        sandbox, JOB_FILE, lambda text: text.replace("restartPolicy: Sometimes", "restartPolicy: Never")
    )
    started = time.monotonic()
    gitops.refresh(sandbox)
    wait_for("the good commit", lambda: healthy_at(sandbox, good), seconds=240)
    print(f"\n  healed {time.monotonic() - started:.0f} s after the good commit")
    # Force+Replace has deleted the Job by the time the server refuses its successor: then the good commit is a run.
    assert gitops.job(sandbox).failed is None
    assert gitops.job(sandbox).git_commit == before.git_commit


def refusal(sandbox: Sandbox) -> str:
    """Return why the last sync did not succeed, empty if it did."""
    seen = gitops.application(sandbox)
    return seen.message if seen.phase in ("Running", "Failed", "Error") and "Sometimes" in seen.message else ""


def healthy_at(sandbox: Sandbox, commit: str) -> bool:
    """Tell whether a commit is synced and its Job is over."""
    seen, found = gitops.application(sandbox), evaluation.job(sandbox)
    return (seen.sync, seen.health, seen.revision) == ("Synced", "Healthy", commit) and bool(found and found.finished)


def test_five_pushes_during_a_run_still_end_in_a_score(sandbox: Sandbox, quick: Endpoint) -> None:
    # All items would take three minutes: none of the runs ends before it is killed.
    quick.plan(latency=15.0)
    quick.forget()
    pushed = gitops.push_evaluation(sandbox)
    wait_for("the evaluation to ask", lambda: evaluating(sandbox, pushed), seconds=180)
    for _ in range(5):
        time.sleep(5)
        pushed = gitops.push_evaluation(sandbox)
    quick.plan(latency=0.0)
    last = gitops.run_of(sandbox, pushed)
    assert last.failed is None
    concurrency = 8
    asked = quick.asked()
    print(f"\n  {asked} requests for {ITEMS} items")
    # A kill costs at most the requests in flight.
    assert ITEMS <= asked <= ITEMS + 5 * concurrency
    record = gitops.runs(sandbox, quick.name)[last.uid]
    assert record["taken_over"] > 0
    assert {name: task["samples"] for name, task in record["tasks"].items()} == dict.fromkeys(
        record["tasks"], int(LIMIT)
    )


def test_the_job_changes_hands_with_one_run_each_way(sandbox: Sandbox, alone: Endpoint) -> None:
    models = [alone.settings()]
    with pytest.raises(CommandError) as refused:
        deploy(sandbox, models, owner="pulumi")
    assert "The Job vllm-eval/evalchemy is still there and is not Pulumi's" in refused.value.output
    with gitops.watched(sandbox) as seen:
        before = gitops.job(sandbox).uid
        deploy(sandbox, models, owner="none")
        wait_for("the end of Argo CD's Job", lambda: evaluation.job(sandbox) is None, seconds=180)
        deploy(sandbox, models, owner="pulumi")
        theirs = gitops.next_run(sandbox, before)
        assert theirs.failed is None
        gitops.refresh(sandbox, hard=True)
        time.sleep(QUIET_SECONDS)
        assert gitops.job(sandbox) == theirs, "Argo CD touched Pulumi's Job"
        deploy(sandbox, models, owner="none")
        wait_for("the end of Pulumi's Job", lambda: evaluation.job(sandbox) is None, seconds=180)
        deploy(sandbox, models, owner="argocd")
        ours = gitops.next_run(sandbox, theirs.uid)
        assert ours.failed is None
    # That Argo CD does not heal its own again, the pushes of the next test show.
    assert (seen.created, seen.most) == ([theirs.uid, ours.uid], 1)


def test_a_push_starts_the_job_as_soon_as_a_bare_application_would(
    sandbox: Sandbox, alone: Endpoint, bare: None
) -> None:
    ours: list[float] = []
    theirs: list[float] = []
    # One after the other, each when the other's pods are gone: on two cores one would wait for the other.
    # Six more if noise decides.
    while len(ours) < 3 or (len(ours) < 9 and not as_soon(ours, theirs)):
        told = f"round-{len(ours)}"
        theirs.append(seconds_to_start(sandbox, "bare", "bare/bare", {BARE_FILE: marked(r"round: .*", told)}))
        kubectl(sandbox, "-n", "bare", "wait", "--for=condition=Complete", "job/bare", "--timeout=120s")
        change = {JOB_FILE: marked(r"git-commit: \S+", told)}
        ours.append(seconds_to_start(sandbox, "vllm-evalchemy-job", "vllm-eval/evalchemy", change))
        gitops.run_of(sandbox, told)
        assert gitops.application(sandbox).self_heals == 0, "Argo CD healed what it had just synced"
    mine, bares = statistics.median(ours), statistics.median(theirs)
    print(f"\n  push to Job: {mine:.2f} s, bare {bares:.2f} s, ratio {mine / bares:.2f}; all: {ours}, bare {theirs}")
    assert as_soon(ours, theirs)


def as_soon(ours: list[float], theirs: list[float]) -> bool:
    """Tell whether the median is at most half as much again, or a second, beyond which a user would notice it.

    A wait of Argo CD's own (a retry, a self-heal, the next look at Git) is ten seconds or more.
    """
    return statistics.median(ours) <= max(1.5 * statistics.median(theirs), statistics.median(theirs) + 1.0)


def marked(line: str, value: str) -> Callable[[str], str]:
    """Return an edit that gives the key of a line, found by a pattern, another value."""
    return lambda text: re.sub(line, f"{line.partition(':')[0]}: {value}", text, count=1)


def seconds_to_start(sandbox: Sandbox, application: str, job: str, change: dict[str, Callable[[str], str]]) -> float:
    """Push a change of an Application's Job, tell Argo CD as a webhook does, and return when the new Job was there."""
    gitops.prepare(sandbox, change)
    with gitops.watched(sandbox, job) as seen:
        began = time.monotonic()
        gitops.push(sandbox)
        annotate = ("-n", "argocd", "annotate", "--overwrite", "application", application)
        kubectl(sandbox, *annotate, f"{gitops.REFRESH}=normal")
        wait_for(f"the next Job of {application}", lambda: seen.created, seconds=60, interval=0.05)
    assert len(seen.created) == 1
    return seen.at[0] - began


BARE_FILE = "bare/job.yaml"
BARE_JOB = f"""\
apiVersion: batch/v1
kind: Job
metadata:
  name: bare
  annotations: {{argocd.argoproj.io/sync-options: "Force=true,Replace=true"}}
spec:
  template:
    metadata:
      annotations:
        round: first
    spec:
      restartPolicy: Never
      containers: [{{name: bare, image: {IMAGE}, command: ["true"]}}]
"""


@pytest.fixture
def bare(sandbox: Sandbox) -> Iterator[None]:
    """A bare Application, without our patches and options, that syncs a bare Job of the same repository."""
    gitops.commit(sandbox, BARE_FILE, lambda _: BARE_JOB)
    application = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "bare", "namespace": "argocd"},
        "spec": {
            "project": "default",
            "source": {"repoURL": "http://git.sandbox:3000/vllm-eval.git", "targetRevision": "main", "path": "bare"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "bare"},
            "syncPolicy": {"automated": {"prune": True, "selfHeal": True}, "syncOptions": ["CreateNamespace=true"]},
        },
    }
    try:
        kubectl(sandbox, "apply", "-f", "-", stdin=json.dumps(application))
        started = ("-n", "bare", "get", "job", "bare", "--ignore-not-found", "-o", "jsonpath={.status.startTime}")
        wait_for("the bare Job", lambda: kubectl(sandbox, *started), seconds=180)
        yield
    finally:
        kubectl(sandbox, "-n", "argocd", "delete", "application", "bare", "--ignore-not-found")
        kubectl(sandbox, "delete", "namespace", "bare", "--ignore-not-found")


def test_a_destroy_in_the_middle_of_a_sync_ends_cleanly(sandbox: Sandbox, alone: Endpoint) -> None:
    alone.plan(latency=2.0)
    earlier = gitops.application(sandbox).started
    gitops.push_evaluation(sandbox, look=False)
    kubectl(sandbox, "-n", "argocd", "annotate", "application", "vllm-evalchemy-job", f"{gitops.REFRESH}=normal")
    wait_for("a sync", lambda: gitops.application(sandbox).started != earlier, seconds=60, interval=0.05)
    stack.pulumi(sandbox, "destroy", "--yes", "--skip-preview", *stack.config_file(sandbox))
    left = kubectl(sandbox, "get", "namespaces", "-o", "name").split()
    assert {"namespace/argocd", "namespace/vllm-eval"}.isdisjoint(left)
    kinds = "applications.argoproj.io,appprojects.argoproj.io,jobs,cronjobs,prometheusrules,servicemonitors"
    assert kubectl(sandbox, "get", kinds, "-A", "-o", "name") == ""
    alone.plan(latency=0.0)
    deploy(sandbox, [alone.settings()])
    # How it ends, the runs of the drill show.
    wait_for("the next Job", lambda: evaluation.job(sandbox), seconds=180)
