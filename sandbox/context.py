"""A cluster of the caller's own, named by its context of the kubeconfig. Nothing of the sandbox runs there or here."""

import json
import os
import shutil
import tempfile
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml

from sandbox import needs, report, requests, stack, tools
from sandbox.cluster import kubectl
from sandbox.layout import REPOSITORY, Layout
from sandbox.monitoring import query
from sandbox.shell import CommandError, SandboxError, run, say, stage, wait_for

# The tool that brings each program, where the caller's PATH has none.
PROGRAMS: Final = {"kubectl": "kubernetes", "pulumi": "pulumi", "helm": "helm"}
STACK: Final = "dev"
JOB: Final = "evalchemy"
PUSHED: Final = 'max(timestamp(push_time_seconds{job="vllm-eval"}))'


@dataclass(frozen=True)
class Context:
    """A context, and the stack that goes to its cluster."""

    name: str
    stack: str
    layout: Layout

    @property
    def logs(self) -> Path:
        """Where pulumi's output is kept."""
        return self.layout.cache / "contexts" / urllib.parse.quote(self.name, safe="")

    def env(self) -> dict[str, str]:
        """Return the caller's own environment, Pulumi's backend and passphrase included; our tools come last."""
        path = f"{os.environ['PATH']}{os.pathsep}{self.layout.bin}"
        return {**os.environ, **stack.plugins(path)}

    def run(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str | None = None,
        timeout: float = 600,
        log: Path | None = None,
    ) -> str:
        """Run a command, kubectl on this cluster and no other; see `sandbox.shell.run`."""
        words = [str(each) for each in command]
        if words[0] == "kubectl":
            words[1:1] = ["--context", self.name]
        return run(words, env={**self.env(), **(env or {})}, cwd=cwd, stdin=stdin, timeout=timeout, log=log)

    def pulumi(self, *words: str | Path) -> str:
        """Run pulumi on the stack in the caller's own backend."""
        command = ["pulumi", "--non-interactive", "--cwd", REPOSITORY, *words, "--stack", self.stack]
        return self.run(command, timeout=7200, log=self.logs / f"pulumi-{words[0]}.log")


def of(environment: Mapping[str, str], layout: Layout) -> Context | None:
    """Return the cluster that CONTEXT names, None for the sandbox's own.

    Raises
    ------
    SandboxError
        When STACK is given without it.
    """
    name, chosen = environment.get("CONTEXT"), environment.get("STACK")
    if name:
        return Context(name, chosen or STACK, layout)
    if chosen and chosen != stack.NAME:
        raise SandboxError(
            f"STACK is {chosen!r} without a CONTEXT: name the cluster, make up CONTEXT=name STACK={chosen}"
        )
    if environment.get("KUBECONFIG"):
        say("KUBECONFIG is ignored: the sandbox makes a cluster of its own. For one of yours: make up CONTEXT=name")
    return None


def check(context: Context, environment: Mapping[str, str]) -> needs.Found:
    """Look at settings and cluster, change nothing, and raise one error that lists every fault."""
    faults: list[str] = []
    asked: dict[str, Any] | None = None
    try:
        requests.check_evaluation()
        asked = stack.check(context.stack, _changes(context, environment))
    except SandboxError as error:
        faults.append(str(error))
    if shutil.which("kubectl", path=context.env()["PATH"]) is None:
        faults.append("there is no `kubectl` to ask the cluster with: install it, or build ours by `make tools`")
    else:
        found = needs.look(context, context.name, context.stack, asked, faults)
    if faults:
        lines = "\n".join(f"  - {each}" for each in faults)
        raise SandboxError(f"the stack {context.stack} cannot go to the cluster of context {context.name!r}:\n{lines}")
    return found


def up(context: Context, environment: Mapping[str, str]) -> None:
    """Update the stack on the cluster, wait for its evaluation and print the scores."""
    with stage("prerequisites"):
        _provide_programs(context)
        found = check(context, environment)
        _open_stack(context)
    with stage("pulumi up"), tempfile.TemporaryDirectory() as folder:
        stack.say_plugins()
        # A copy: the caller's stack file stays as it is, whichever cluster it names.
        file = Path(folder) / f"Pulumi.{context.stack}.yaml"
        file.write_text(yaml.safe_dump(stack.merged(context.stack, _changes(context, environment)), allow_unicode=True))
        context.pulumi("up", "--yes", "--skip-preview", "--config-file", file)
    if found.owner == "none":
        say("evaluation.owner is none: no evaluation runs")
    else:
        with stage("evaluation"):
            wait(context, found)
    if found.prometheus is None:
        say("monitoring.enabled is false: no Prometheus has scores; the evaluation's log ends with them")
        return
    say(f"\n{report.table(report.scores(context, context.stack, found.prometheus))}")


def wait(context: Context, found: needs.Found) -> None:
    """Wait for the end of the stack's Job, and for its scores.

    Raises
    ------
    SandboxError
        With the pods' last lines, when the Job fails; with what was seen last, when it does not end.
    """
    deadline, said = time.monotonic() + found.seconds, ""
    while (state := _state(context, found)) is not None:
        if state != said:
            say(f"  {state}")
            said = state
        if time.monotonic() > deadline:
            raise SandboxError(f"the evaluation did not end within {found.seconds} s; last seen: {said}")
        time.sleep(2)
    job = _job(context, found.namespace) or {}
    ends = {each["type"]: each for each in job["status"]["conditions"] if each["status"] == "True"}
    if "Failed" in ends:
        logs = _logs(context, found.namespace, "--prefix", "--tail=20")
        raise SandboxError(f"the evaluation failed: {ends['Failed'].get('message', '')}\n{logs}")
    if (prometheus := found.prometheus) is not None:
        finished = datetime.fromisoformat(ends["Complete"]["lastTransitionTime"]).timestamp()

        def scraped() -> bool:
            series = query(context, PUSHED, prometheus)
            return bool(series) and series[0][1] > finished

        wait_for("the scores in Prometheus", scraped, seconds=180, interval=2)


def _state(context: Context, found: needs.Found) -> str | None:
    """Return what the evaluation waits for, None when its Job has ended."""
    if found.owner == "argocd" and (unsynced := _unsynced(context, found.argocd)):
        return unsynced
    job = _job(context, found.namespace)
    if job is None:
        return "there is no Job yet"
    if any(each["type"] in ("Complete", "Failed") and each["status"] == "True" for each in _conditions(job)):
        return None
    return _logs(context, found.namespace, "--tail=1") or "the evaluation's pod starts"


def _unsynced(context: Context, namespace: str) -> str:
    """Return what Argo CD has yet to do until the Job in the cluster is the Application's, empty when it is."""
    words = ("-n", namespace, "get", "application", "vllm-evalchemy-job", "--ignore-not-found", "-o", "json")
    text = kubectl(context, *words)
    if not text:
        return "there is no Application yet"
    application = json.loads(text)
    status = application.get("status", {})
    sync, operation = status.get("sync", {}), status.get("operationState", {})
    # A status of before the update compares with the source of before.
    current = sync.get("comparedTo", {}).get("source") == application["spec"]["source"]
    if current and sync.get("status") == "Synced" and operation.get("phase") != "Running":
        return ""
    conditions = "; ".join(each["message"] for each in status.get("conditions", []))
    return f"Argo CD: {sync.get('status', 'Unknown')} {operation.get('message', '')} {conditions}".strip()[:300]


def _job(context: Context, namespace: str) -> dict[str, Any] | None:
    text = kubectl(context, "-n", namespace, "get", "job", JOB, "--ignore-not-found", "-o", "json")
    return dict(json.loads(text)) if text else None


def _conditions(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(job.get("status", {}).get("conditions", []))


def _logs(context: Context, namespace: str, *words: str) -> str:
    try:
        selector = f"--selector=batch.kubernetes.io/job-name={JOB}"
        return kubectl(context, "-n", namespace, "logs", selector, *words).strip()
    except SandboxError as error:
        return str(error)


def _changes(context: Context, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what this run lays over the stack file's groups."""
    return {"cluster": {"context": context.name}, **requests.settings(environment)}


def _provide_programs(context: Context) -> None:
    """Build what the caller's PATH lacks; helm is the stand-ins' alone."""
    for program, tool in PROGRAMS.items():
        needed = program != "helm" or stack.official() is None
        if needed and shutil.which(program, path=context.env()["PATH"]) is None:
            tools.build(tool, context.layout)


def _open_stack(context: Context) -> None:
    try:
        context.pulumi("stack", "output", "--json")
    except CommandError as error:
        raise SandboxError(
            f"the stack {context.stack} cannot be opened: {error.last}\n"
            f"Log in to its backend (pulumi login), and if it is new: pulumi stack init {context.stack}"
        ) from error
