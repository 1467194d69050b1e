"""What answers of 32k tokens cost the runner: memory, the time around the requests, and a kill in the middle.

``python -m tests.bench.bench_long_answers`` (two minutes) evaluates items
whose thoughts have 128 kB each, of a server of its own process, and prints the
runner's peak memory; then it stops a run in the middle and says how many
answers the next attempt takes over. Ends with 1 if a goal is missed.
"""

import argparse
import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.openai_server import OpenAIServer, Plan, digest, load_answers, serve
from tests.support.ports import free_port
from tests.support.workspace import Workspace

GOAL_MEMORY_BYTES = 600 << 20
WORDS = ("so", "then", "the", "sum", "is", "what", "we", "want", "wait", "check", "again", "step")


def book(size: int) -> str:
    """Return ``size`` characters, about as hard to compress as text is."""
    numbers = (digest(str(index)) for index in range(size // 4))
    return " ".join(f"{WORDS[number % len(WORDS)]}{number % 97}" for number in numbers)[:size]


def run_server(port: int, data: Path, size: int, latency: float) -> None:
    """Serve answers that follow long thoughts."""
    text = book(8 * size)
    server = OpenAIServer(load_answers([data]), Plan(latency=latency, sigma=0.5))

    def reply(body: Mapping[str, Any], right: str | None) -> Mapping[str, Any]:
        start = digest(str(body["messages"])) % (7 * size)
        message = {"role": "assistant", "content": right, "reasoning": text[start : start + size]}
        usage = {"completion_tokens": size // 4}
        return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}

    server.reply = reply
    asyncio.run(serve(server, "127.0.0.1", port))


def run(workspace: Workspace, *, stop_after: float | None = None) -> tuple[float, int]:
    """Run once; return seconds and peak bytes of the child."""
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "vllm_eval", "run"], env={**os.environ, **workspace.environ},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    if stop_after is not None:
        time.sleep(stop_after)
        process.send_signal(signal.SIGKILL)
    errors = process.communicate()[1]
    if stop_after is None and process.returncode != 0:
        raise RuntimeError(errors)
    return time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def main(arguments: Sequence[str]) -> int:
    """Run everything; 0 if all goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--size", type=int, default=128 << 10, help="characters of a thought")
    parser.add_argument("--serve", nargs=4, metavar=("PORT", "DATA", "SIZE", "LATENCY"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        port, data, size, latency = options.serve
        run_server(int(port), Path(data), int(size), float(latency))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder), environ={"VLLM_EVAL_REQUEST_TIMEOUT_SECONDS": "60"})
        workspace.environ["VLLM_EVAL_RUN_ID"] = "first"
        workspace.add_task("long", options.items, settings={"engine": "lm_eval"})
        port = free_port()
        command = [sys.executable, "-m", "tests.bench.bench_long_answers", "--serve", str(port)]
        data = str(workspace.root / "data" / "long.jsonl")
        with subprocess.Popen([*command, data, str(options.size), "0.05"], stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            server.stdout.readline()
            block = {"api": "chat", "reasoning": "required", "concurrency": 32}
            workspace.set_models(workspace.model(f"http://127.0.0.1:{port}/v1", **block))
            run(workspace, stop_after=12)
            again, peak = run(workspace)
            taken = workspace.last().taken_over
            workspace.environ["VLLM_EVAL_RUN_ID"] = "second"
            seconds, peak = run(workspace)
            server.terminate()
        result = workspace.last()
        stored = sum(path.stat().st_size for path in (workspace.root / "results").rglob("*") if path.is_file())
    text = options.items * options.size
    sys.stdout.write(
        json.dumps({
            "answers": options.items, "text_mb": text >> 20, "seconds": round(seconds, 1), "peak_mb": peak >> 20,
            "stored_mb": stored >> 20, "taken_over_after_a_kill": taken, "seconds_of_the_rest": round(again, 1),
            "requests_per_second": round(result.requests_per_second or 0, 1),
        }, indent=1) + "\n"
    )  # fmt: skip
    met = peak <= GOAL_MEMORY_BYTES and taken > 0
    sys.stdout.write(f"{'met' if met else 'MISSED'}: at most {GOAL_MEMORY_BYTES >> 20} MB; answers survive a kill\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
