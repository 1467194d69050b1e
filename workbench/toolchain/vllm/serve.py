"""Starts vLLM on the small model: for tests, for people (`make vllm`), and as what the sandbox's pod runs.

`python -m workbench.toolchain.vllm.serve` listens on loopback until Ctrl-C. `--options` adds options of `vllm serve`.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from workbench.paths import Paths
from workbench.shell import WorkbenchError, fail
from workbench.toolchain.vllm.provide import Vllm, provide

# A cache of 1 GiB holds 55,000 tokens of this model: 26 prompts of 2,048 tokens, which is the longest that it takes.
ENVIRONMENT: Final = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # Its processes talk to each other on an address that they look up, which is not loopback.
    "VLLM_HOST_IP": "127.0.0.1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
NAMES: Final = ("gemma-3-270m",)
PORT: Final = 18555


def arguments(model: str, *, host: str, port: int, names: Sequence[str] = NAMES) -> list[str]:
    """Return the arguments of `vllm` that serve the model of a folder under these names."""
    where = ["--host", host, "--port", str(port), "--served-model-name", *names]
    return ["serve", model, *where, "--enforce-eager", "--dtype", "bfloat16", "--max-model-len", "2048"]


def command(found: Vllm, *, port: int, names: Sequence[str] = NAMES, options: Sequence[str] = ()) -> list[str]:
    """Return the command that serves it on this machine's loopback."""
    # As a module: the first line of its script names the folder of the installation, which was renamed afterwards.
    vllm = [str(found.env / "bin/python"), "-m", "vllm.entrypoints.cli.main"]
    return [*vllm, *arguments(str(found.model), host="127.0.0.1", port=port, names=names), *options]


def environment(libraries: Path) -> Mapping[str, str]:
    """Return what its process needs beside the caller's environment."""
    folders = [str(each) for each in libraries.glob("usr/lib/*-gnu*")]
    return {**ENVIRONMENT, "LD_LIBRARY_PATH": ":".join([*folders, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])}


def main() -> int:
    """Replace this process by a server. Return only when there can be none, with the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workbench.toolchain.vllm.serve")
    parser.add_argument("--options", default="", metavar="WORDS", help="further options of `vllm serve`, in one text")
    options = shlex.split(parser.parse_args().options)
    try:
        found = provide(Paths.of_this_clone())
    except WorkbenchError as error:
        return fail(error)
    words = command(found, port=PORT, options=options)
    os.environ |= environment(found.libraries)
    os.execv(words[0], words)  # noqa: S606 -- no shell is wanted
    raise AssertionError("this program goes on as another one")


if __name__ == "__main__":
    sys.exit(main())
