"""The command line of the workbench: `python -m workbench COMMAND [options]`. The Makefile types it for people.

It needs no package, so that `down` works while the virtual environment is half made, or gone.
"""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final

COMMANDS: Final = {
    "up": "deploy everything and print the scores, on a cluster on this machine or on that of --context",
    "doctor": "tell what this machine, or the cluster of --context, lacks for `up`; change nothing",
    "verify": "tell step by step whether the stack on the cluster of --context works, up to a test alert",
    "preview": "show what an update of --stack would change",
    "status": "print the sandbox's processes, pods and scores",
    "logs": "print the evaluation's last lines, and where the processes write theirs",
    "shell": "open a shell inside the sandbox",
    "reports": "copy the last runs' reports out of the cluster of --context into the folder of --to",
    "ui": "show scores, reports, alerts and Argo CD's state in a browser until Ctrl-C",
    "tools": "build the pinned tools into the cache",
    "may-start": "tell whether this user may run `up`; needs no virtual environment",
    "down": "end the sandbox and remove all that it left on this machine but the caches",
    "clean": "remove the caches; the sandbox must be down",
}
# The commands that take --context; `make` calls `may-start` before `up`, with the same options.
OF_CONTEXT: Final = ("up", "doctor", "verify", "reports", "may-start")


@dataclass(frozen=True)
class Options:
    """What was typed; an empty option was not given."""

    command: str
    context: str = ""
    stack: str = ""
    model_endpoint: str = ""
    model: str = ""
    model_tag: str = ""
    limit: str = ""
    server: str = ""
    standins: str = ""
    ports: str = ""
    to: str = ""
    alert: str = ""
    small: bool = False


def parse(words: Iterable[str] | None = None) -> Options:
    """Return the options of a command line; the process ends with 2 and the usage when it is wrong."""
    listed = "\n".join(f"  {name:10} {meaning}" for name, meaning in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m workbench",
        usage="%(prog)s COMMAND [options]",
        description=f"commands:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("command", choices=COMMANDS, metavar="COMMAND", help=argparse.SUPPRESS)
    add("--context", default="", metavar="NAME", help="a cluster of your kubeconfig instead of the sandbox")
    add("--stack", default="", metavar="NAME", help="the stack to deploy there (default: dev), or to preview")
    add("--model-endpoint", default="", metavar="URL", help="evaluate this OpenAI API, such as http://host:8000/v1 …")
    add("--model", default="", metavar="NAME", help="… and there this model, instead of the stack's")
    add("--model-tag", default="", metavar="TAG", help="… under this tag (default: v1)")
    add("--limit", default="", metavar="ITEMS", help="at most so many items of each task")
    add(
        "--server",
        default="",
        metavar="PROGRAM",
        help="what serves the sandbox's model: llama.cpp (default), or vllm, which takes 6 GB of memory and of disk",
    )
    add("--standins", default="", metavar="1", help="with --context: take the sandbox's Pulumi plugins there, too")
    add(
        "--ports",
        default="",
        metavar="P,P,P,P",
        help="ports of `ui` for its page, Argo CD, Prometheus and Alertmanager",
    )
    add("--to", default="", metavar="FOLDER", help="of `reports`: where they go (default: results)")
    add("--alert", default="", metavar="0", help="of `verify`: send no test alert")
    add("--small", action="store_true", help="of `tools`: only what `make check` needs")
    given = vars(parser.parse_args(None if words is None else list(words)))
    return Options(**{each.name: given[each.name] for each in fields(Options)})
