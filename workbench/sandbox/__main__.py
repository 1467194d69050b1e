"""Command line of the sandbox, its end apart (`down.py`); the Makefile is its only documented caller."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Final

from workbench.cluster import context, report
from workbench.cluster.kubectl import kubectl
from workbench.layout import Layout
from workbench.sandbox import doctor, stack, steps, ui
from workbench.sandbox.down import refuse_context
from workbench.sandbox.namespace import Namespace
from workbench.shell import SandboxError, fail, say
from workbench.toolchain import tools

NEXT: Final = """
Next:
  make status                    processes, pods, scores
  make logs                      the evaluation's last lines
  make preview STACK=local       what `pulumi up` would change
  make ui                        Argo CD, Prometheus and Alertmanager in a browser
  make shell                     then e.g. `kubectl -n vllm-eval get jobs,pods` or `pulumi preview`
  edit eval/ and `make up`       builds the image, and Argo CD runs the Job again
  make down                      ends the sandbox and leaves the machine as it was"""


def up(layout: Layout) -> int:
    """Deploy everything and print the scores: in the sandbox, or on the cluster that CONTEXT names."""
    if theirs := context.of(os.environ, layout):
        context.up(theirs, os.environ)
        return 0
    namespace = steps.up(layout)
    say(f"\n{report.table(report.scores(namespace, stack.NAME))}\n{NEXT}")
    return 0


def status(layout: Layout) -> int:
    """Print what runs, as far as the sandbox has come: processes, Application, Jobs and pods, scores."""
    namespace = Namespace(layout)
    namespace.command([])  # says so when there is no sandbox
    for daemon in sorted(file.stem for file in layout.state.glob("*.pid") if file.stem != "init"):
        say(f"{daemon:24} {'runs' if namespace.alive(daemon) else 'has ended'}")
    parts: list[Callable[[], str]] = [
        lambda: kubectl(namespace, "get", "applications.argoproj.io", "-A"),
        lambda: kubectl(namespace, "get", "jobs,pods", "-A"),
        lambda: report.table(report.scores(namespace, stack.NAME)),
    ]
    for part in parts:
        try:
            say(f"\n{part()}")
        except SandboxError as error:
            say(f"\nnot yet: {str(error).splitlines()[-1]}")
    return 0


def logs(layout: Layout) -> int:
    """Print the evaluation's last lines, and where every process of the sandbox writes."""
    pods = ["--selector=batch.kubernetes.io/job-name", "--prefix", "--tail=100", "--ignore-errors"]
    say(kubectl(Namespace(layout), "-n", "vllm-eval", "logs", *pods) or "no evaluation has run yet")
    say(f"processes and builds, a file each: {layout.logs}")
    return 0


def preview(layout: Layout) -> int:
    """Print what `pulumi up` would change on the sandbox's cluster."""
    namespace = Namespace(layout)
    say(stack.pulumi(namespace, "preview", "--diff", *stack.config_file(namespace)))
    return 0


def check(layout: Layout) -> int:
    """Tell whether this machine can run the sandbox, or whether the stack fits CONTEXT's cluster; change nothing."""
    if theirs := context.of(os.environ, layout):
        context.check(theirs, os.environ)
        say(f"the cluster of context {theirs.name!r} has all that the stack {theirs.stack} needs")
        return 0
    doctor.check(layout, os.environ)
    say("this machine has all that `make up` needs")
    return 0


def shell(layout: Layout) -> int:
    """Open a shell inside."""
    namespace = Namespace(layout)
    environment = {**namespace.env(), **stack.env(namespace), "PS1": "(sandbox) \\w$ "}
    return subprocess.call(namespace.command(["bash", "--norc"]), env=environment)


def forward(layout: Layout) -> int:
    """Show Argo CD, Prometheus and Alertmanager on this machine until Ctrl-C."""
    ui.serve(Namespace(layout), ui.chosen(os.environ))
    return 0


def build_tools(layout: Layout) -> int:
    """Build the pinned tools."""
    tools.build_all(layout)
    return 0


COMMANDS = {
    "up": up,
    "status": status,
    "logs": logs,
    "preview": preview,
    "doctor": check,
    "shell": shell,
    "ui": forward,
    "tools": build_tools,
}


# What takes a CONTEXT; `tools` and the like come before a target that does.
OF_CONTEXT: Final = ("up", "doctor", "tools")


def main() -> int:
    """Run one command; a `SandboxError` ends it with one message."""
    parser = argparse.ArgumentParser(prog="sandbox", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    chosen = parser.parse_args().command
    # Pods run as users of their own and read what is written here, whatever the caller's umask.
    os.umask(0o022)
    try:
        return _run(chosen, Layout.of_this_clone())
    except SandboxError as error:
        return fail(error)
    except BrokenPipeError:  # `make status | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        if name := os.environ.get("CONTEXT"):
            return fail(SandboxError(f"interrupted; an evaluation that has begun goes on in the cluster of {name!r}"))
        return fail(SandboxError(f"interrupted; run `make {chosen}` again to go on, `make down` to remove everything"))


def _run(chosen: str, layout: Layout) -> int:
    if chosen not in OF_CONTEXT:
        refuse_context(chosen)
    return COMMANDS[chosen](layout)


if __name__ == "__main__":
    sys.exit(main())
