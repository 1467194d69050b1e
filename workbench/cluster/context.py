"""A cluster of the user's own, named by a context of the kubeconfig. No part of the sandbox is started for it."""

import os
import shutil
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from workbench.cluster import evaluation, needs, recorded, report, requests, stack, surroundings
from workbench.cluster.kubectl import kubectl
from workbench.cluster.requests import DeployRequest
from workbench.paths import REPOSITORY, Paths
from workbench.shell import CommandError, WorkbenchError, run, say, stage
from workbench.toolchain import tools

PROVIDER: Final = "pulumi-resource-kubernetes"
# The tool that brings each program, where the caller's PATH has none.
PROGRAMS: Final = {"kubectl": "kubernetes", "pulumi": "pulumi", PROVIDER: PROVIDER}
STACK: Final = "dev"


@dataclass(frozen=True)
class Context:
    """A context, and the stack that goes to its cluster."""

    name: str
    stack: str
    paths: Paths

    @property
    def logs(self) -> Path:
        """Folder with the output of each pulumi command."""
        return self.paths.cache / "contexts" / urllib.parse.quote(self.name, safe="")

    def env(self) -> dict[str, str]:
        """Return the caller's own environment, Pulumi's backend and passphrase included; our tools come last."""
        path = f"{os.environ['PATH']}{os.pathsep}{self.paths.bin}"
        return {**os.environ, **stack.plugins(self.paths, path)}

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
        """Run a command, kubectl on this cluster and no other; see `workbench.shell.run`."""
        words = [str(each) for each in command]
        if words[0] == "kubectl":
            words[1:1] = ["--context", self.name]
        return run(words, env={**self.env(), **(env or {})}, cwd=cwd, stdin=stdin, timeout=timeout, log=log)

    def of_argocd(self, hub: str | None) -> "Context":
        """Return the cluster whose Argo CD has the stack's Application: this one, or a hub."""
        return self if hub is None else replace(self, name=hub)

    def pulumi(self, *words: str | Path) -> str:
        """Run pulumi on the stack in the caller's own backend."""
        command = ["pulumi", "--non-interactive", "--cwd", REPOSITORY, *words, "--stack", self.stack]
        return self.run(command, timeout=7200, log=self.logs / f"pulumi-{words[0]}.log")


def check(context: Context, request: DeployRequest) -> needs.Found:
    """Look at settings and cluster, change nothing, and raise one error that lists every fault."""
    return _look(context, request, *_judge(context, request))


def up(context: Context, request: DeployRequest) -> None:
    """Update the stack on the cluster, wait for its evaluation and print the scores."""
    with stage("prerequisites"):
        asked, faults = _judge(context, request)
        if not faults:  # else a build of minutes would come before the refusal
            _provide_programs(context)
        found = _look(context, request, asked, faults)
        _open_stack(context)
        resources = _recorded(context)
        recorded.check_context(resources, context.stack, context.name)
        if model := request.model:
            recorded.check_models(resources, context.stack, model)
    with stage("pulumi up"), tempfile.TemporaryDirectory() as folder:
        stack.say_plugins()
        # A copy: the caller's stack file stays as it is, whichever cluster it names.
        file = Path(folder) / f"Pulumi.{context.stack}.yaml"
        file.write_text(stack.merged(context.stack, _changes(context, request)))
        context.pulumi("up", "--yes", "--skip-preview", "--config-file", file)
    if found.owner == "none":
        say("evaluation.owner is none: no evaluation runs")
    else:
        with stage("evaluation"):
            evaluation.follow(
                context,
                lambda job: pending(context, found, job),
                stack=context.stack,
                namespace=found.namespace,
                prometheus=found.prometheus,
                seconds=found.seconds,
                outage=found.seconds,
            )
    if found.prometheus is None:
        say("monitoring.enabled is false: no Prometheus has scores; the evaluation's log ends with them")
        return
    say(f"\n{report.table(report.scores(context, context.stack, found.prometheus))}")


def asked(context: Context, request: DeployRequest) -> dict[str, Any]:
    """Return what the stack's settings ask of a cluster.

    Raises
    ------
    WorkbenchError
        With every problem of the settings.
    """
    return stack.check(context.stack, _changes(context, request))


def pending(context: Context, found: needs.Found, job: evaluation.JobState | None) -> str:
    """Return what must still happen before the Job in the cluster is this stack's; empty when nothing must."""
    if found.owner == "argocd":
        application = evaluation.application(context.of_argocd(found.hub), found.argocd, found.application)
        if application is None or not _synced(application):
            return evaluation.sync_state(application)
    return "" if job else "there is no Job yet"


def _synced(application: Mapping[str, Any]) -> bool:
    """Tell whether Argo CD has synced the present Application. An older status was about another source."""
    status = application.get("status", {})
    sync, operation = status.get("sync", {}), status.get("operationState", {})
    current = bool(sync.get("comparedTo", {}).get("source") == application["spec"]["source"])
    return current and sync.get("status") == "Synced" and operation.get("phase") != "Running"


def _changes(context: Context, request: DeployRequest) -> dict[str, Any]:
    """Return what this run lays over the stack file's groups."""
    return {"cluster": {"context": context.name}, **requests.settings(request)}


def _judge(context: Context, request: DeployRequest) -> tuple[dict[str, Any] | None, list[str]]:
    """Return what the stack asks of a cluster, None when its settings are wrong; and all that is wrong on this side."""
    faults = [*_missing_plugins(request)]
    wanted: dict[str, Any] | None = None
    try:
        wanted = asked(context, request)
    except WorkbenchError as error:
        faults.append(str(error))
    try:
        requests.check_evaluation(wanted["config"] if wanted else None)
    except WorkbenchError as error:
        faults.append(str(error))
    return wanted, faults


def _look(context: Context, request: DeployRequest, asked: Mapping[str, Any] | None, faults: list[str]) -> needs.Found:
    """Return what the cluster has for the stack, or raise one error that lists what it lacks after `faults`."""
    found: needs.Found | None = None
    if shutil.which("kubectl", path=context.env()["PATH"]) is None:
        faults.append("there is no `kubectl` to ask the cluster with: install it, or build ours by `make tools`")
    else:
        refused = _refusal(context, request, faults)
        faults += refused
        if asked is not None:
            found = needs.look(context, context.stack, asked, faults, reachable=not refused)
            if not refused or _answers(context):
                told = surroundings.look(context, context.of_argocd(found.hub), context.stack, asked)
                faults += told.faults
                for note in told.notes:
                    say(f"  note: {note}")
    if faults or found is None:
        lines = "\n".join(f"  - {each}" for each in faults)
        raise WorkbenchError(
            f"the stack {context.stack} cannot go to the cluster of context {context.name!r}:\n{lines}"
        )
    if endpoint := request.endpoint:
        try:
            requests.ask(endpoint)
        except WorkbenchError as error:  # no fault: pods of another network may reach what this machine does not
            say(f"  note: {error}")
    return found


def _answers(context: Context) -> bool:
    try:
        kubectl(context, "get", "--raw=/version", "--request-timeout=15s")
    except WorkbenchError:
        return False
    return True


def _refusal(context: Context, request: DeployRequest, told: Sequence[str]) -> list[str]:
    """Return what the program itself would refuse when it sees the cluster, but what was `told` already."""
    try:
        stack.preflight(context.stack, _changes(context, request), context.env())
    except WorkbenchError as error:
        return [] if str(error) in told else str(error).splitlines()
    return []


def _missing_plugins(request: DeployRequest) -> Iterator[str]:
    """Yield a sentence if only the sandbox's plugins are there: their provider is older than the program's SDK."""
    if stack.official() is None and not request.standins:
        yield (
            "the official Pulumi plugins are missing (there is no `pulumi-language-python` on PATH): install Pulumi"
            " from https://www.pulumi.com/docs/install, which brings and fetches them; or, for a cluster that you can"
            " afford to lose, take the sandbox's, whose Kubernetes provider is older: STANDINS=1"
        )


def _provide_programs(context: Context) -> None:
    """Build what the caller's PATH lacks; an official Pulumi fetches its providers."""
    for program, tool in PROGRAMS.items():
        needed = program != PROVIDER or stack.official() is None
        if needed and shutil.which(program, path=context.env()["PATH"]) is None:
            tools.build(tool, context.paths)


def _open_stack(context: Context) -> None:
    try:
        context.pulumi("stack", "output", "--json")
    except CommandError as error:
        raise WorkbenchError(
            f"the stack {context.stack} cannot be opened: {error.last}\n"
            f"Log in to its backend (pulumi login), and if it is new: pulumi stack init {context.stack}"
        ) from error


def _recorded(context: Context) -> recorded.Resources:
    # Not by `Context.pulumi`: its log would keep a copy of the state.
    command = ["pulumi", "--non-interactive", "--cwd", str(REPOSITORY), "stack", "export", "--stack", context.stack]
    return recorded.of(context.run(command))
