"""What answers of 32k tokens cost the runner: memory, the endpoint's idle time, and a kill in the middle.

``python -m tests.bench.bench_long_answers`` (two minutes) evaluates a task of
short answers and, listed after it, one whose thoughts have 128 kB each, on a
server of its own process. It prints the runner's peak memory and the share of
the endpoint's places that stood empty between the first request and the last
answer (the tail of long answers is most of it), stops a run in the middle and
says how many answers the next attempt takes over. Ends with 1 if a goal is
missed.
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
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.openai_server import OpenAIServer, Plan, digest, load_answers, serve
from tests.support.ports import free_port
from tests.support.workspace import Workspace

GOAL_MEMORY_BYTES = 600 << 20
GOAL_IDLE_SHARE = 0.1
CONCURRENCY = 32
LONGEST_TOKENS = 32 << 10
# What a short answer takes beside the network, and each token that an answer may have.
LATENCY_SECONDS, TOKEN_SECONDS = 0.05, 2e-5
WORDS = ("so", "then", "the", "sum", "is", "what", "we", "want", "wait", "check", "again", "step")


def book(size: int) -> str:
    """Return ``size`` characters, about as hard to compress as text is."""
    numbers = (digest(str(index)) for index in range(size // 4))
    return " ".join(f"{WORDS[number % len(WORDS)]}{number % 97}" for number in numbers)[:size]


def run_server(port: int, data: Path, size: int) -> None:
    """Serve answers, those that may be long after a thought of ``size`` characters."""
    text = book(8 * size)
    files = sorted(data.glob("*.jsonl"))
    server = OpenAIServer(load_answers(files), Plan(latency=LATENCY_SECONDS, sigma=0.5, per_token=TOKEN_SECONDS))

    def reply(body: Mapping[str, Any], right: str | None) -> Mapping[str, Any]:
        start = digest(str(body["messages"])) % (7 * size)
        length = size if body["max_tokens"] == LONGEST_TOKENS else 64
        message = {"role": "assistant", "content": right, "reasoning": text[start : start + length]}
        usage = {"completion_tokens": length // 4}
        return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}

    server.reply = reply
    server.entries = [{"id": "fake-model", "root": "fake-root", "max_model_len": 2 * LONGEST_TOKENS}]
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
    parser.add_argument("--serve", nargs=3, metavar=("PORT", "DATA", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        port, data, size = options.serve
        run_server(int(port), Path(data), int(size))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder), environ={"VLLM_EVAL_REQUEST_TIMEOUT_SECONDS": "60"})
        workspace.environ["VLLM_EVAL_RUN_ID"] = "first"
        workspace.add_task("short", options.items, settings={"engine": "lm_eval"})
        workspace.add_task("long", options.items, max_gen_toks=LONGEST_TOKENS, settings={"engine": "lm_eval"})
        port = free_port()
        command = [sys.executable, "-m", "tests.bench.bench_long_answers", "--serve", str(port)]
        data = str(workspace.root / "data")
        with subprocess.Popen([*command, data, str(options.size)], stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                server.stdout.readline()
                block = {"api": "chat", "reasoning": "required", "concurrency": CONCURRENCY}
                workspace.set_models(workspace.model(f"http://127.0.0.1:{port}/v1", **block))
                run(workspace, stop_after=12)
                again, peak = run(workspace)
                taken = workspace.last().taken_over
                workspace.environ["VLLM_EVAL_RUN_ID"] = "second"
                admin = f"http://127.0.0.1:{port}/admin"
                urllib.request.urlopen(urllib.request.Request(admin, method="DELETE")).close()
                seconds, peak = run(workspace)
                with urllib.request.urlopen(admin) as response:
                    seen = json.load(response)
            finally:
                server.terminate()
        idle = 1 - seen["busy_seconds"] / (seen["last_end"] - seen["first_start"]) / CONCURRENCY
        result = workspace.last()
        stored = sum(path.stat().st_size for path in (workspace.root / "results").rglob("*") if path.is_file())
    text = options.items * options.size
    sys.stdout.write(
        json.dumps({
            "answers": 2 * options.items, "text_mb": text >> 20, "seconds": round(seconds, 1), "peak_mb": peak >> 20,
            "stored_mb": stored >> 20, "taken_over_after_a_kill": taken, "seconds_of_the_rest": round(again, 1),
            "requests_per_second": round(result.requests_per_second or 0, 1), "idle_share": round(idle, 3),
        }, indent=1) + "\n"
    )  # fmt: skip
    met = peak <= GOAL_MEMORY_BYTES and idle <= GOAL_IDLE_SHARE and taken > 0
    goals = f"at most {GOAL_MEMORY_BYTES >> 20} MB; at most {GOAL_IDLE_SHARE:.0%} idle; answers survive a kill"
    sys.stdout.write(f"{'met' if met else 'MISSED'}: {goals}\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
