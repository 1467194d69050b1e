"""What people and CI do to a running stack, and what Argo CD makes of it."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from workbench.cluster import evaluation
from workbench.cluster.kubectl import kubectl
from workbench.cluster.requests import DeployRequest
from workbench.sandbox import ci, git, images, stack
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import run, wait_for

JOB: Final = "evalchemy"
REFRESH: Final = "argocd.argoproj.io/refresh"
# Of the image, and of no task's hash: a run after its edit has the baseline of the run before.
EDIT: Final = "eval/evalchemy/vllm_eval/__init__.py"


@dataclass(frozen=True)
class Application:
    """What Argo CD says of the Application; nothing where it says nothing yet."""

    sync: str
    health: str
    revision: str
    phase: str
    message: str
    conditions: str
    self_heals: int
    started: str


def application(sandbox: Sandbox) -> Application:
    """Read the Application."""
    status = (evaluation.application(sandbox) or {}).get("status", {})
    operation = status.get("operationState", {})
    return Application(
        sync=status.get("sync", {}).get("status", ""),
        health=status.get("health", {}).get("status", ""),
        revision=status.get("sync", {}).get("revision", ""),
        phase=operation.get("phase", ""),
        started=operation.get("startedAt", ""),
        message=operation.get("message", ""),
        self_heals=operation.get("operation", {}).get("sync", {}).get("autoHealAttemptsCount", 0),
        conditions="; ".join(f"{each['type']}: {each['message']}" for each in status.get("conditions", [])),
    )


def job(sandbox: Sandbox) -> evaluation.JobState:
    """Return the Job, which must exist."""
    found = evaluation.job(sandbox)
    assert found is not None, "there is no evaluation Job"
    return found


def deploy(sandbox: Sandbox, **groups: Any) -> str:  # noqa: ANN401 -- settings are of any type
    """Run `pulumi up` with groups of settings laid over the local stack's, and return what it printed."""
    stack.configure(sandbox, {**stack.overrides(sandbox, DeployRequest()), **groups})
    return stack.pulumi(sandbox, "up", "--yes", "--skip-preview", *stack.config_file(sandbox))


def provide(sandbox: Sandbox, changes: Mapping[str, Callable[[str], str]]) -> None:
    """Have these files in the evaluation image: commit, build and run, unless the last commit has them."""
    git.clone(sandbox, checkout(sandbox))
    if all(
        (file := checkout(sandbox) / path).exists() and change("") == file.read_text()
        for path, change in changes.items()
    ):
        return
    pushed = commit_all(sandbox, changes)
    ci.build_image(sandbox, checkout(sandbox))
    refresh(sandbox)
    run_of(sandbox, pushed, seconds=300)


def refresh(sandbox: Sandbox, *, hard: bool = False) -> None:
    """Let Argo CD look at Git now, as a webhook does, and wait until it has."""
    annotate = ("-n", "argocd", "annotate", "application", "vllm-evalchemy-job", "--overwrite")
    kubectl(sandbox, *annotate, f"{REFRESH}={'hard' if hard else 'normal'}")

    def looked() -> bool:
        seen = evaluation.application(sandbox)
        return seen is not None and REFRESH not in seen["metadata"].get("annotations", {})

    wait_for("Argo CD to look at Git", looked, seconds=180)


def commit(sandbox: Sandbox, path: str, change: Callable[[str], str]) -> str:
    """Change a file on `main` by a fresh clone, as a developer would, and return the commit."""
    return commit_all(sandbox, {path: change})


def commit_all(sandbox: Sandbox, changes: Mapping[str, Callable[[str], str]]) -> str:
    """Change several files in one commit; see `commit`."""
    prepare(sandbox, changes)
    return push(sandbox)


def prepare(sandbox: Sandbox, changes: Mapping[str, Callable[[str], str]]) -> None:
    """Commit changes of files in a fresh clone, for `push`."""
    clone = checkout(sandbox)
    git.clone(sandbox, clone)
    for path, change in changes.items():
        file = clone / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(change(file.read_text() if file.exists() else ""))
    environment = {**sandbox.env(), **git.IDENTITY}
    run(["git", "-C", clone, "add", "--all"])
    message = f"Edit {', '.join(changes)}"
    run(["git", "-C", clone, "commit", "--quiet", "--message", message], env=environment)


def push(sandbox: Sandbox) -> str:
    """Push what `prepare` committed, and return the commit."""
    clone = checkout(sandbox)
    run(["git", "-C", clone, "push", "--quiet", "origin", "main"])
    return run(["git", "-C", clone, "rev-parse", "HEAD"]).strip()


def push_evaluation(sandbox: Sandbox, *, look: bool = True) -> str:
    """Push a commit of evaluation code and let CI's script record it, with the image that the registry has.

    Building is left out: one test does it, and here the image would be the same.
    """
    pushed = commit(sandbox, EDIT, lambda text: f"{text}\n# Edited at {time.time()}.\n")
    ci.write_back(sandbox, pushed, images.digest(sandbox, f"{ci.IMAGE}:latest"))
    if look:
        refresh(sandbox)
    return pushed


def next_run(sandbox: Sandbox, before: str, *, seconds: float = 180) -> evaluation.JobState:
    """Wait until a Job other than the one with the UID `before` has ended and Prometheus has what it pushed."""
    return _ended(sandbox, "the next evaluation", lambda found: found.uid != before, seconds)


def run_of(sandbox: Sandbox, pushed: str, *, seconds: float = 180) -> evaluation.JobState:
    """Wait until the run of a commit has ended and Prometheus has what it pushed."""
    return _ended(sandbox, f"the evaluation of {pushed[:12]}", lambda found: found.git_commit == pushed, seconds)


def _ended(
    sandbox: Sandbox, what: str, wanted: Callable[[evaluation.JobState], bool], seconds: float
) -> evaluation.JobState:
    def ended() -> evaluation.JobState | None:
        found = evaluation.job(sandbox)
        return found if found and wanted(found) and found.finished else None

    found = wait_for(what, ended, seconds=seconds)
    finished = found.finished or 0.0
    wait_for("its series in Prometheus", lambda: evaluation.scraped(sandbox, stack.NAME) > finished, seconds=180)
    return found


@dataclass
class Seen:
    """Jobs that appeared while somebody watched, by UID in order, with the clock's time, and the most at one time."""

    created: list[str] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    most: int = 0


@contextmanager
def watched(sandbox: Sandbox, which: str = f"vllm-eval/{JOB}") -> Iterator[Seen]:
    """Watch the Jobs of a namespace and name by the API server's own events, so that none is missed."""
    namespace, name = which.split("/")
    uid = "jsonpath={.metadata.uid}"
    known = set(kubectl(sandbox, "-n", namespace, "get", "job", name, "--ignore-not-found", "-o", uid).split())
    events = r'jsonpath={.type} {.object.metadata.name} {.object.metadata.uid}{"\n"}'
    words = ["kubectl", "-n", namespace, "get", "jobs", "--watch", "--output-watch-events", "-o", events]
    # nsenter hands no signal on: the shell inside ends kubectl when its standard input closes.
    script = '"$@" & child=$!; read -r _; kill $child'
    command = sandbox.command(["sh", "-c", script, "sh", *words])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    seen, alive = Seen(), set(known)
    begun = threading.Event()
    with subprocess.Popen(command, env=sandbox.env(), text=True, **pipes) as process:  # type: ignore[call-overload]

        def read() -> None:
            for line in process.stdout:
                kind, called, uid = line.split()
                begun.set()
                if called != name:
                    continue
                if kind == "DELETED":
                    alive.discard(uid)
                elif uid not in alive:
                    alive.add(uid)
                    if uid not in known:
                        known.add(uid)
                        seen.at.append(time.monotonic())
                        seen.created.append(uid)
                seen.most = max(seen.most, len(alive))

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            # A watch begins by listing what is there; of an empty list it says nothing.
            assert begun.wait(timeout=60 if known else 2) or not known, "the watch has not begun"
            yield seen
            assert process.poll() is None, "the watch ended before what it was to see"
        finally:
            # One more event's time, so that what has just happened is seen.
            time.sleep(1)
            process.stdin.close()
            reader.join(timeout=10)


def runs(sandbox: Sandbox, model: str, *, of: str = stack.NAME) -> Mapping[str, dict[str, Any]]:
    """Return the records of a model's runs on the results claim of a stack, by run id."""
    files = (sandbox.paths.state / "volumes").glob(f"*/runs/{of}/{model}/*/result.json")
    return {file.parent.name: json.loads(file.read_text()) for file in files}


def last_lines(sandbox: Sandbox, lines: int = 20) -> str:
    """Return what the evaluation's pods said last."""
    return kubectl(sandbox, "-n", "vllm-eval", "logs", f"job/{JOB}", f"--tail={lines}")


def checkout(sandbox: Sandbox) -> Path:
    """Return the clone that `commit` made last."""
    return sandbox.paths.state / "checkout"
