"""What the commands of `python -m workbench` do; `sandbox/down.py` has the two that need no package."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from components import labels
from workbench.cluster import context, report, reports, verify
from workbench.cluster.context import Context
from workbench.cluster.kubectl import kubectl
from workbench.cluster.requests import DeployRequest
from workbench.options import Options
from workbench.paths import REPOSITORY, Paths
from workbench.sandbox import doctor, stack, steps, ui
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import WorkbenchError, say
from workbench.toolchain import tools

NEXT: Final = """
Next:
  make status                    processes, pods, scores
  make logs                      the evaluation's last lines
  make preview STACK=local       what `pulumi up` would change
  make ui                        scores, reports and alerts in a browser
  make shell                     then e.g. `kubectl -n vllm-eval get jobs,pods` or `pulumi preview`
  edit eval/ and `make up`       builds the image, and Argo CD runs the Job again
  make down                      ends the sandbox and leaves the machine as it was"""


def up(paths: Paths, options: Options) -> None:
    """Deploy everything and print the scores: in the sandbox, or on the cluster that CONTEXT names."""
    request = _request(options)
    if theirs := chosen(paths, options):
        context.up(theirs, request)
        return
    sandbox = steps.up(paths, request, options.server)
    say(f"\n{report.table(report.scores(sandbox, stack.NAME))}\n{NEXT}")


def status(paths: Paths, _options: Options) -> None:
    """Print what runs, as far as the sandbox has come: processes, Application, Jobs and pods, scores."""
    sandbox = Sandbox(paths)
    sandbox.command([])  # says so when there is no sandbox
    for daemon in sorted(file.stem for file in paths.state.glob("*.pid") if file.stem != "init"):
        say(f"{daemon:24} {'runs' if sandbox.alive(daemon) else 'has ended'}")
    parts: list[Callable[[], str]] = [
        lambda: kubectl(sandbox, "get", "applications.argoproj.io", "-A"),
        lambda: kubectl(sandbox, "get", "jobs,pods", "-A"),
        lambda: report.table(report.scores(sandbox, stack.NAME)),
    ]
    for part in parts:
        try:
            say(f"\n{part()}")
        except WorkbenchError as error:
            say(f"\nnot yet: {str(error).splitlines()[-1]}")


def logs(paths: Paths, _options: Options) -> None:
    """Print the evaluation's last lines, and where every process of the sandbox writes."""
    pods = [f"--selector={labels.JOB_NAME}", "--prefix", "--tail=100", "--ignore-errors"]
    say(kubectl(Sandbox(paths), "-n", labels.NAMESPACE, "logs", *pods) or "no evaluation has run yet")
    say(f"processes and builds, a file each: {paths.logs}")


def preview(paths: Paths, options: Options) -> None:
    """Print what `pulumi up` would change; the stack `local` is the sandbox's."""
    if not options.stack:
        raise WorkbenchError("STACK is not set: make preview STACK=dev")
    if options.stack != stack.NAME:
        if shutil.which("pulumi") is None:
            raise WorkbenchError("there is no `pulumi`: install it from https://www.pulumi.com/docs/install")
        sys.exit(subprocess.call(["pulumi", "preview", "--diff", "--stack", options.stack], cwd=REPOSITORY))
    sandbox = Sandbox(paths)
    say(stack.pulumi(sandbox, "preview", "--diff", *stack.config_file(sandbox)))


def check(paths: Paths, options: Options) -> None:
    """Tell whether this machine can run the sandbox, or whether the stack fits CONTEXT's cluster; change nothing."""
    request = _request(options)
    if theirs := chosen(paths, options):
        context.check(theirs, request)
        say(f"the cluster of context {theirs.name!r} has all that the stack {theirs.stack} needs")
        return
    doctor.check(paths, request, options.server)
    say("this machine has all that `make up` needs")


def verified(paths: Paths, options: Options) -> None:
    """Tell step by step whether a deployed stack works, up to a test alert at its receivers."""
    theirs = chosen(paths, options) if options.context else None
    if theirs is None:
        raise WorkbenchError("CONTEXT is not set: make verify CONTEXT=name STACK=prod")
    verify.verify(theirs, context.asked(theirs, _request(options)), alert=options.alert != "0")
    say(f"the stack {theirs.stack} works")


def shell(paths: Paths, _options: Options) -> None:
    """Open a shell inside."""
    sandbox = Sandbox(paths)
    environment = {**sandbox.env(), **stack.env(sandbox), "PS1": "(sandbox) \\w$ "}
    sys.exit(subprocess.call(sandbox.command(["bash", "--norc"]), env=environment))


def forward(paths: Paths, options: Options) -> None:
    """Show the sandbox's page and its APIs on this machine until Ctrl-C."""
    ui.serve(Sandbox(paths), *ui.chosen(options.ports))


def fetch_reports(paths: Paths, options: Options) -> None:
    """Copy the last runs' reports out of the cluster that CONTEXT names; the sandbox's are in `make ui`."""
    theirs = chosen(paths, options) if options.context else None
    if theirs is None:
        raise WorkbenchError(
            "CONTEXT is not set: make reports CONTEXT=name STACK=prod; the sandbox's are shown by `make ui`"
        )
    reports.fetch(theirs, Path(options.to or "results"))


def build_tools(paths: Paths, options: Options) -> None:
    """Build the pinned tools, or only the small ones."""
    tools.build_all(paths, tools.SMALL if options.small else None)


def chosen(paths: Paths, options: Options) -> Context | None:
    """Return the cluster that CONTEXT names, None when it is the sandbox's.

    Raises
    ------
    WorkbenchError
        SERVER is given with CONTEXT, or STACK without it.
    """
    if options.context:
        if options.server:
            raise WorkbenchError(
                f"SERVER is {options.server!r}, and it serves the sandbox's own model: leave it out with CONTEXT"
            )
        return Context(options.context, options.stack or context.STACK, paths)
    if options.stack and options.stack != stack.NAME:
        raise WorkbenchError(
            f"STACK is {options.stack!r} without a CONTEXT: name the cluster,"
            f" make up CONTEXT=name STACK={options.stack}"
        )
    if os.environ.get("KUBECONFIG"):
        say("KUBECONFIG is ignored: the sandbox makes a cluster of its own. For one of yours: make up CONTEXT=name")
    return None


def _request(options: Options) -> DeployRequest:
    return DeployRequest(
        endpoint=options.model_endpoint,
        model=options.model,
        tag=options.model_tag,
        limit=options.limit,
        standins=options.standins == "1",
    )


COMMANDS: Final[Mapping[str, Callable[[Paths, Options], None]]] = {
    "up": up,
    "status": status,
    "logs": logs,
    "preview": preview,
    "doctor": check,
    "verify": verified,
    "shell": shell,
    "reports": fetch_reports,
    "ui": forward,
    "tools": build_tools,
}
