"""Runs one command of the workbench, and tells every failure as one message."""

import os
import sys
from collections.abc import Iterable

from workbench.options import OF_CONTEXT, Options, parse
from workbench.paths import Paths
from workbench.sandbox import down
from workbench.shell import WorkbenchError, fail


def main(words: Iterable[str] | None = None) -> int:
    """Run the command of a command line and return the exit code."""
    options = parse(words)
    # Pods run as users of their own and read what is written here, whatever the caller's umask.
    os.umask(0o022)
    try:
        return _run(options, Paths.of_this_clone())
    except WorkbenchError as error:
        return fail(error)
    except BrokenPipeError:  # `make status | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return fail(WorkbenchError(_interrupted(options)))


def _run(options: Options, paths: Paths) -> int:
    chosen = options.command
    if options.context and chosen not in OF_CONTEXT:
        commands = ", ".join(f"`make {each}`" for each in OF_CONTEXT if each != "may-start")
        raise WorkbenchError(f"`make {chosen}` takes no CONTEXT: leave it out. These commands take one: {commands}")
    if chosen == "may-start":
        return _may_start(options)
    if chosen in down.COMMANDS:
        down.COMMANDS[chosen](paths)
        return 0
    # Only now: `down` and `clean` work without the packages that the other commands import.
    from workbench.commands import COMMANDS

    COMMANDS[chosen](paths, options)
    return 0


def _may_start(options: Options) -> int:
    if os.geteuid() == 0 or options.context:
        return 0
    print("error: this user is not root: namespaces and mounts need it; run `sudo make up`", file=sys.stderr)
    return 2


def _interrupted(options: Options) -> str:
    if options.context:
        return f"interrupted; an evaluation that has begun goes on in the cluster of {options.context!r}"
    ending = "" if options.command in down.COMMANDS else ", `make down` to remove everything"
    return f"interrupted; run `make {options.command}` again to go on{ending}"
