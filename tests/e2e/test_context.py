"""`make up CONTEXT=…`: a whole cluster of somebody's own, from the checks to the table, and back to nothing.

What the end-to-end suite shows of the main job with no more than a cluster: scores, no changes after them, no second
run, a drop that raises its alert, a dead endpoint that moves no score, and nothing left.

Here that cluster is the sandbox's, with what `docs/adopt.md` expects of somebody's: Prometheus, Alertmanager with a
receiver, and an Argo CD that is a hub's and has the stack `local`, too. The stack comes from a fork of its own; it is
upgraded, rolled back, and taken down beside the other one. The end-to-end suite runs these tests beside the drill,
which waits for its days (`second_stack` in conftest.py). With ``--context NAME`` the cluster is that one, such as
one of kind's in `.github/workflows/e2e.yml`, with the official plugins and the real chart, and holds nothing else.
"""

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from components import labels
from tests.e2e import gitops
from tests.e2e.elsewhere import (
    HUB,
    LIMIT,
    STACK,
    Contents,
    Elsewhere,
    Fork,
    contents,
    hub,
    recorded,
    title,
    wait_until_as_before,
)
from tests.e2e.endpoints import Endpoint
from tests.e2e.receiver import PORT, Receiver
from tests.support.program import ENABLED_TASKS
from workbench.cluster import alarm, verify
from workbench.cluster.context import Context
from workbench.cluster.kubectl import kubectl, query
from workbench.paths import REPOSITORY, Paths
from workbench.sandbox import stack
from workbench.sandbox.addresses import NODE_ADDRESS
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import CommandError, Runner, run, wait_for

pytestmark = pytest.mark.e2e

SERVING: Final = "vllm-eval-test"
OLD, NEW = "v1.1.0", "v1.2.0"
EVALUATION: Final = {"endpoint_wait_seconds": 20, "results": {"size": "1Gi", "keep": False}}
MONITORING: Final = {"release": "sandbox", "scrape_interval_seconds": 5, "day": "2m"}
# Read now: each test begins with an environment that is free of it.
KUBECONFIG: Final = os.environ.get("KUBECONFIG")


@dataclass(frozen=True)
class Beside:
    """What is there beside the stack: somebody's receiver, the stack's fork, and the cluster as it was before it."""

    sandbox: Sandbox
    receiver: Receiver
    fork: Fork
    before: Contents


@pytest.fixture(autouse=True)
def kubeconfig(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's kubeconfig, which has the context."""
    if KUBECONFIG and request.config.getoption("context"):
        monkeypatch.setenv("KUBECONFIG", KUBECONFIG)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Elsewhere]:
    """A cluster without the stack; at the end without it again."""
    folder = tmp_path_factory.mktemp("elsewhere")
    clone = folder / "clone"
    run(["git", "clone", "--quiet", REPOSITORY, clone])
    for name in ("state", "tmp"):
        (folder / name).mkdir()
    env = {
        "PULUMI_BACKEND_URL": f"file://{folder}/state",
        "PULUMI_HOME": f"{folder}/pulumi",
        "PULUMI_CONFIG_PASSPHRASE": "elsewhere",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # The provider leaves a copy of the kubeconfig behind for each Helm release.
        "TMPDIR": str(folder / "tmp"),
    }
    context = request.config.getoption("context")
    with ExitStack() as at_the_end:
        runner: Runner
        if context:
            runner, groups = Context(context, STACK, Paths.of_this_clone()), alone()
        else:
            runner = sandbox = request.getfixturevalue("sandbox")
            env["KUBECONFIG"] = str(at_the_end.enter_context(hub(sandbox, folder)))
            groups = beside_another()
        name = context or "sandbox"
        namespace = groups["evaluation"].get("namespace", labels.NAMESPACE)
        # A name of its own: in a sandbox that is kept from an earlier test, an old one has runs.
        endpoint = Endpoint(runner, f"{STACK}-{secrets.token_hex(2)}", SERVING)
        made = Elsewhere(runner, name, clone, env, namespace, endpoint, beside=not context)
        groups = {"cluster": {"context": name}, **groups}
        made.file.write_text(yaml.safe_dump({"config": {f"vllm-eval:{key}": each for key, each in groups.items()}}))
        kubectl(runner, "create", "namespace", SERVING)
        at_the_end.callback(kubectl, runner, "delete", "namespace", SERVING)
        endpoint.start()
        endpoint.plan(accuracy=0.8)
        made.pulumi("stack", "init")
        at_the_end.callback(shutil.rmtree, Context(name, STACK, Paths.of_this_clone()).logs, ignore_errors=True)
        at_the_end.callback(made.pulumi, "destroy", "--yes", "--skip-preview")
        yield made


@pytest.fixture(scope="module")
def beside(elsewhere: Elsewhere, request: pytest.FixtureRequest) -> Beside | None:
    """What the sandbox has beside the stack; None on a cluster that holds nothing else."""
    if not elsewhere.beside:
        return None
    sandbox = request.getfixturevalue("sandbox")
    receiver = request.getfixturevalue("receiver")
    elsewhere.pulumi("config", "set", "--secret", "vllm-eval:receiver-team", f"http://{NODE_ADDRESS}:{PORT}/team")
    return Beside(sandbox, receiver, Fork(sandbox, OLD), contents(sandbox))


@pytest.fixture
def neighbour(beside: Beside | None) -> Beside:
    """The same, for tests of what is there beside the stack."""
    if beside is None:
        pytest.skip("the cluster holds nothing but the stack")
    return beside


def alone() -> dict[str, Any]:
    """Return the settings of a stack on a small cluster that holds nothing else."""
    origin = run(["git", "remote", "get-url", "origin"], cwd=REPOSITORY).strip()
    revision = run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY).strip()
    return {
        "git": {"repository": origin, "revision": revision},
        "argocd": {"reconciliation_seconds": 10},
        "evaluation": EVALUATION,
        "monitoring": MONITORING,
    }


def beside_another() -> dict[str, Any]:
    """Return the settings of a second stack of a cluster, whose Argo CD is a hub's."""
    argocd = {"install": False, "context": HUB, "destination": STACK}
    names = {"application": f"vllm-evalchemy-job-{STACK}", "project": f"vllm-eval-{STACK}"}
    receivers = [{"name": "team", "kind": "webhook"}]
    return {
        "git": {"repository": Fork.URL, "revision": OLD},
        "argocd": {**argocd, **names},
        "evaluation": {**EVALUATION, "namespace": f"evaluations-{STACK}"},
        "monitoring": {**MONITORING, "dashboard": False, "receivers": receivers},
    }


@pytest.mark.usefixtures("beside")
def test_up_evaluates_once_and_prints_the_scores(elsewhere: Elsewhere) -> None:
    endpoint = elsewhere.endpoint
    said = elsewhere.up()
    rows = [line.split() for line in said.splitlines() if line.startswith(endpoint.name)]
    assert [row[2] for row in rows] == ["custom_task_1", "custom_task_2"], said
    assert all(f"{LIMIT}/{LIMIT}" in row for row in rows), said
    assert endpoint.asked() == 2 * LIMIT

    before = elsewhere.job()
    elsewhere.up()
    assert elsewhere.job() == before, "a second `make up` evaluated again"
    assert endpoint.asked() == 2 * LIMIT

    elsewhere.keep()
    for words in (["preview"], ["refresh", "--yes", "--skip-preview"], ["preview"]):
        elsewhere.pulumi(*words, "--expect-no-changes")


def test_verify_finds_every_step_well_up_to_a_test_alert_at_the_receivers(
    elsewhere: Elsewhere, beside: Beside | None
) -> None:
    said = elsewhere.make("verify", alert="1" if beside else "0")
    steps = {name: mark for mark, name in re.findall(r"^(ok|note) +(\w[\w ]*?)  ", said, re.MULTILINE)}
    expected = dict.fromkeys(verify.STEPS, "ok")
    if beside is None:
        assert steps == {**{name: mark for name, mark in expected.items() if name != "alert"}, "dashboard": "note"}
        return
    # The other stack's dashboard shows both.
    assert steps == {name: mark for name, mark in expected.items() if name != "dashboard"}, said
    ours = f"{elsewhere.namespace}/vllm-eval/team"
    # The root's receiver hears of no alert that a route takes (docs/alerts-compared.md).
    assert f"routed to {ours}; 2 sent by webhook" in said
    for severity in ("Critical", "Warning"):
        test = f"{alarm.ALERT}{severity}"
        wait_for(test, lambda test=test: beside.receiver.told(test) == {ours}, seconds=60)  # type: ignore[misc]


def test_what_is_rendered_is_what_up_has_made(elsewhere: Elsewhere) -> None:
    rendered = elsewhere.rendered()
    made = recorded(elsewhere.pulumi("stack", "export"))
    assert {title(each) for each in rendered} == {each for each in made if not each.startswith("Secret ")}
    for each in rendered:
        text = json.dumps(each)
        shown = kubectl(elsewhere.runner, "get", "-f", "-", "-o", "json", "--show-managed-fields", stdin=text)
        (live,) = json.loads(shown)["items"]
        owners = {entry["manager"] for entry in live["metadata"].pop("managedFields")}
        # In its own name, so that a field which `up` has set and the manifest lacks would go.
        (owner,) = (name for name in owners if name.startswith("pulumi"))
        words = ("apply", "--server-side", "--dry-run=server", "--force-conflicts", f"--field-manager={owner}")
        applied = json.loads(kubectl(elsewhere.runner, *words, "-f", "-", "-o", "json", stdin=text))
        assert without_pulumis(applied) == without_pulumis(live), title(each)


def without_pulumis(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return an object without the annotations that only Pulumi reads, and without what every write changes."""
    metadata = {key: each for key, each in manifest["metadata"].items() if key != "resourceVersion"}
    notes = metadata.pop("annotations", {})
    return {**manifest, "metadata": metadata, "notes": {key: notes[key] for key in notes if "pulumi.com/" not in key}}


def test_each_object_of_two_stacks_has_one_owner(elsewhere: Elsewhere, neighbour: Beside) -> None:
    ours = recorded(elsewhere.pulumi("stack", "export"))
    theirs = recorded(stack.pulumi(neighbour.sandbox, "stack", "export", "--stack", stack.NAME))
    assert ours
    assert theirs
    assert ours.isdisjoint(theirs)
    live = contents(neighbour.sandbox)
    labelled: dict[str, set[str]] = {STACK: set(), stack.NAME: set()}
    for name, each in live.items():
        marks = each["metadata"].get("labels", {})
        if marks.get(labels.PART_OF) == labels.PROJECT and marks.get(labels.MANAGED_BY) == "pulumi":
            labelled[marks[labels.INSTANCE]].add(name)
    assert labelled == {STACK: ours, stack.NAME: theirs}
    synced = {
        name: each["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"].partition(":")[0]
        for name, each in live.items()
        if re.fullmatch(r"Job .*/evalchemy|CronJob .*", name)
    }
    assert synced == {
        f"{kind} {where}": application
        for where, application in (
            ("vllm-eval/evalchemy", "vllm-evalchemy-job"),
            (f"{elsewhere.namespace}/evalchemy", f"vllm-evalchemy-job-{STACK}"),
        )
        for kind, where in (("Job", where), ("CronJob", f"{where}-nightly"))
    }


def test_an_upgrade_and_a_rollback_keep_the_history(elsewhere: Elsewhere, neighbour: Beside, tmp_path: Path) -> None:
    def runs() -> dict[str, dict[str, Any]]:
        return dict(gitops.runs(neighbour.sandbox, elsewhere.endpoint.name, of=STACK))

    first, history, scores = elsewhere.job(), runs(), elsewhere.scores()
    assert list(history) == [first.uid]
    commit = neighbour.fork.release(NEW, tmp_path / "fork")
    jobs = []
    for version in (NEW, OLD):
        elsewhere.pulumi("config", "set", "--path", "vllm-eval:git.revision", version)
        assert f"This re-runs the evaluation if the Job differs there: 1 model x {ENABLED_TASKS}." in elsewhere.pulumi(
            "preview"
        )
        elsewhere.up()
        jobs.append(elsewhere.job())
        assert elsewhere.scores() == scores
    newer, older = jobs
    assert newer.git_commit == commit
    assert newer.image != first.image
    assert (older.git_commit, older.image) == (first.git_commit, first.image)
    found = runs()
    assert found.keys() == {first.uid, newer.uid, older.uid}
    assert found[first.uid] == history[first.uid]
    for run_id in (newer.uid, older.uid):
        for task in found[run_id]["tasks"].values():
            assert (task["comparison"]["baseline_run"], task["comparison"]["verdict"]) == (first.uid, "same")
    elsewhere.make("verify", alert="0")


def test_a_drop_raises_its_alerts_and_is_in_the_reports(elsewhere: Elsewhere) -> None:
    elsewhere.endpoint.plan(accuracy=0.4)
    elsewhere.run_again("drop")
    wait_for("the drop's alerts", lambda: len(elsewhere.firing("EvaluationRegression")) == 2, seconds=180)
    assert {each["namespace"] for each in elsewhere.firing("EvaluationRegression")} == {elsewhere.namespace}
    elsewhere.make("reports", to="results")
    assert "verdict worse" in (elsewhere.clone / "results/index.html").read_text()
    pods = ("-n", elsewhere.namespace, "get", "pods", "-o", "name")
    wait_for("the end of the pod that read", lambda: "-fetch-" not in kubectl(elsewhere.runner, *pods), seconds=60)


def test_a_dead_endpoint_is_no_score(elsewhere: Elsewhere) -> None:
    scores = elsewhere.scores()
    assert [samples for *_, samples in scores] == [LIMIT, LIMIT]
    kubectl(elsewhere.runner, "-n", SERVING, "scale", f"deployment/{elsewhere.endpoint.name}", "--replicas=0")
    with pytest.raises(CommandError) as refused:
        elsewhere.up(limit=str(LIMIT + 1))
    assert "the evaluation failed" in refused.value.output
    success = f'vllm_eval_run_success{{stack="{STACK}"}}'
    wait_for("its series", lambda: [value for _, value in query(elsewhere.runner, success)] == [0.0, 0.0], seconds=180)
    wait_for("the failure's alerts", lambda: len(elsewhere.firing("EvaluationFailed")) == 2, seconds=180)
    assert elsewhere.scores() == scores, "an endpoint that is dead is no score"


def test_destroy_leaves_nothing_of_the_stack_and_everything_else(elsewhere: Elsewhere, beside: Beside | None) -> None:
    elsewhere.pulumi("destroy", "--yes", "--skip-preview")
    assert json.loads(elsewhere.pulumi("stack", "export"))["deployment"].get("resources", []) == []
    if beside is not None:
        kubectl(elsewhere.runner, "-n", SERVING, "scale", f"deployment/{elsewhere.endpoint.name}", "--replicas=1")
        wait_until_as_before(beside.sandbox, beside.before)
        return
    left = kubectl(elsewhere.runner, "get", "namespaces", "-o", "name").split()
    assert {"namespace/argocd", f"namespace/{elsewhere.namespace}"}.isdisjoint(left)
