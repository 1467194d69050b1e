"""How fast the runner keeps an endpoint busy, beside a raw load generator and lm_eval itself.

``python -m tests.bench.bench_runner`` (``make bench-runner``) prints, for
every number of tasks, way of setting generation and concurrency, the ratio of
the runner's throughput to a raw asyncio load generator's: first request to last
answer as the server sees them, the same bodies, the same log-normal latencies
(chosen by the body), in interleaved pairs. Then: what a run adds before its
first request and after its last answer, and its memory with 20,000 items.
Ends with 1 if a goal is missed, and says which. It takes half an hour, in which
nothing else should run here; ``--quick`` measures a tenth of it.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.ports import free_port
from tests.support.pushgateway import running_pushgateway
from tests.support.workspace import Workspace

MEDIAN_LATENCY, SIGMA = 0.25, 0.8
# An answer of one token, as log-probability tasks ask for: what vLLM takes for it.
ONE_TOKEN_LATENCY, GOAL_ONE_TOKEN_RATIO = 0.05, 0.99
GOAL_RATIO, GOAL_OVERHEAD_SECONDS, GOAL_MEMORY_BYTES = 0.95, 6.0, 1 << 30
ENGINE = {"engine": "lm_eval"}


@dataclass(frozen=True)
class Cell:
    """One row of the table: ``settings`` is how many different generation settings the tasks have.

    ``one_token``: every answer is one token long and comes as soon.
    """

    tasks: int
    settings: int
    concurrency: int
    one_token: bool = False

    @property
    def items(self) -> int:
        """Items of all tasks: about 7 s of work, and at least ten a task."""
        return max(self.concurrency * (100 if self.one_token else 20), 40)

    @property
    def latency(self) -> float:
        """Median, in seconds."""
        return ONE_TOKEN_LATENCY if self.one_token else MEDIAN_LATENCY

    @property
    def goal(self) -> float:
        """Share of the raw generator's rate."""
        return GOAL_ONE_TOKEN_RATIO if self.one_token else GOAL_RATIO


@dataclass(frozen=True)
class Measured:
    """One run. Seconds; ``server_share`` is of one core while the requests ran."""

    requests: int
    window: float
    before: float
    after: float
    server_share: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.requests / self.window


class Server:
    """The OpenAI server as a process of its own, so that it shares no interpreter with its clients."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self._pid = pid

    def call(self, method: str, path: str = "") -> Any:  # noqa: ANN401 - JSON
        """Call the admin route."""
        request = urllib.request.Request(f"{self.url.removesuffix('/v1')}/admin{path}", method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - loopback
            return json.load(response)

    @property
    def cpu_seconds(self) -> float:
        """CPU time that the process has used."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def measure(self, command: Sequence[str], environ: Mapping[str, str] | None = None) -> Measured:
        """Run a client and read from the server when it asked."""
        self.call("DELETE")
        cpu, start = self.cpu_seconds, time.monotonic()
        done = subprocess.run(
            command,
            env={**os.environ, **(environ or {})},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        end = time.monotonic()
        if done.returncode != 0:
            raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        state = self.call("GET")
        window = state["last_end"] - state["first_start"]
        return Measured(
            requests=state["requests"],
            window=window,
            before=state["first_start"] - start,
            after=end - state["last_end"],
            server_share=(self.cpu_seconds - cpu) / window,
        )


@contextmanager
def running_server(workspace: Workspace, *, latency: float, padding: int = 0) -> Iterator[Server]:
    """Start the server with the answers to all of the workspace's questions."""
    port = free_port()
    data = [argument for path in (workspace.root / "data").glob("*.jsonl") for argument in ("--data", str(path))]
    command = [
        sys.executable, "-m", "tests.support.openai_server", "--port", str(port), "--accuracy", "0.7",
        "--latency", str(latency), "--sigma", str(SIGMA), "--padding", str(padding), *data,
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None or "listening" not in process.stdout.readline():
            raise RuntimeError("the server did not start")
        yield Server(f"http://127.0.0.1:{port}/v1", process.pid)
    finally:
        process.terminate()
        process.wait(timeout=10)


def make_workspace(root: Path, cell: Cell) -> Workspace:
    """Write a cell's tasks."""
    workspace = Workspace(root)
    for number in range(cell.tasks):
        tokens = 1 if cell.one_token else 16 + (number if cell.settings > 1 else 0)
        workspace.add_task(f"task_{number}", cell.items // cell.tasks, max_gen_toks=tokens, settings=ENGINE)
    workspace.environ |= {"VLLM_EVAL_REQUEST_TIMEOUT_SECONDS": "120"}
    return workspace


def ours(workspace: Workspace, server: Server, concurrency: int, **block: object) -> Measured:
    """Measure a whole run of the command line."""
    workspace.set_models(workspace.model(server.url, concurrency=concurrency, **block))
    return server.measure([sys.executable, "-m", "vllm_eval", "run"], workspace.environ)


def raw(bodies: Path, server: Server, concurrency: int) -> Measured:
    """Measure this module's load generator."""
    command = [sys.executable, "-m", "tests.bench.bench_runner", "--raw", str(bodies), server.url, str(concurrency)]
    return server.measure(command)


def plain_lm_eval(workspace: Workspace, server: Server, concurrency: int) -> Measured:
    """Measure lm_eval's own command line on the same tasks."""
    names = ",".join(path.stem for path in (workspace.root / "tasks").glob("*.yaml"))
    arguments = (
        f"base_url={server.url}/completions,model=fake-model,tokenizer_backend=None,num_concurrent={concurrency}"
    )
    command = [
        sys.executable, "-m", "lm_eval", "run", "--model", "local-completions", "--model_args", arguments,
        "--tasks", names, "--include_path", str(workspace.root / "tasks"),
    ]  # fmt: skip
    quiet = {
        "TQDM_DISABLE": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(workspace.root / "hf"),
    }
    # lm_eval resolves data files against the working directory; absolute ones work from any.
    for path in (workspace.root / "tasks").glob("*.yaml"):
        path.write_text(path.read_text().replace("../data", str(workspace.root / "data")))
    return server.measure(command, quiet)


async def load(bodies: Sequence[Mapping[str, Any]], url: str, concurrency: int) -> None:
    """Send all bodies with so many at a time, and nothing else: no retries, no checks, no record."""
    queue = iter(bodies)
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120)) as session:

        async def work() -> None:
            for body in queue:
                async with session.post(f"{url}/completions", json=body) as response:
                    (await response.json())["choices"][0]["text"]

        await asyncio.gather(*(work() for _ in range(concurrency)))


def bench_cell(cell: Cell, pairs: int, *, with_lm_eval: bool) -> tuple[bool, list[Measured]]:
    """Measure one row in interleaved pairs and print it; says whether it meets the goal."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = make_workspace(Path(folder), cell)
        bodies = Path(folder) / "bodies.json"
        with running_server(workspace, latency=cell.latency) as server:
            ours(workspace, server, cell.concurrency)
            bodies.write_text(json.dumps(server.call("GET", "/requests")))
            runs: list[tuple[Measured, Measured]] = []
            for number in range(pairs):
                if number % 2:
                    reference = raw(bodies, server, cell.concurrency)
                    runs.append((ours(workspace, server, cell.concurrency), reference))
                else:
                    own = ours(workspace, server, cell.concurrency)
                    runs.append((own, raw(bodies, server, cell.concurrency)))
            plain = [plain_lm_eval(workspace, server, cell.concurrency) for _ in range(1 if with_lm_eval else 0)]
    ratios = sorted(own.rate / reference.rate for own, reference in runs)
    median = statistics.median(ratios)
    beside = "".join(f"  lm_eval itself {run.rate / statistics.median(r.rate for _, r in runs):.0%}" for run in plain)
    print(
        f"{cell.tasks:5} {cell.settings:8} {cell.concurrency:11} {cell.items:6} "
        f"{statistics.median(own.rate for own, _ in runs):8.1f}/s {median:7.1%} "
        f"[{ratios[0]:.1%} .. {ratios[-1]:.1%}]  server {statistics.median(own.server_share for own, _ in runs):4.0%}"
        f"{beside}{'  answers of one token' if cell.one_token else ''}{_missed(median >= cell.goal)}",
        flush=True,
    )
    return median >= cell.goal, [own for own, _ in runs]


def bench_stream(pairs: int, tokens: int = 256) -> None:
    """Print what streaming costs: answers of so many events each, beside the same answers whole."""
    cell = Cell(10, 10, 32)
    with tempfile.TemporaryDirectory() as folder:
        workspace = make_workspace(Path(folder), cell)
        with running_server(workspace, latency=MEDIAN_LATENCY, padding=tokens) as server:
            ratios, shares = [], []
            for _ in range(pairs):
                whole = ours(workspace, server, cell.concurrency)
                streamed = ours(workspace, server, cell.concurrency, stream=True)
                ratios.append(streamed.rate / whole.rate)
                shares.append(streamed.server_share)
    rate = statistics.median(ratios)
    print(f"streamed, {tokens} tokens an answer: {rate:.1%} of the rate of whole answers [{min(ratios):.1%} .. "
          f"{max(ratios):.1%}], server's share of one core {statistics.median(shares):.2f}", flush=True)  # fmt: skip


def bench_overhead(runs: int) -> bool:
    """Measure what a run adds before its first request and after its last answer, publication included."""
    totals = []
    with tempfile.TemporaryDirectory() as folder, running_pushgateway() as gateway:
        workspace = make_workspace(Path(folder), Cell(tasks=2, settings=1, concurrency=8))
        workspace.environ["VLLM_EVAL_PUSHGATEWAY"] = gateway.url
        with running_server(workspace, latency=0.05) as server:
            for _ in range(runs):
                run = ours(workspace, server, 8)
                totals.append(run.before + run.after)
    median = statistics.median(totals)
    met = median <= GOAL_OVERHEAD_SECONDS
    spread = f"[{min(totals):.2f} .. {max(totals):.2f}], {runs} runs"
    print(f"fixed overhead of a run: {median:.2f} s {spread}{_missed(met)}", flush=True)
    return met


def bench_memory(items: int) -> bool:
    """Measure the largest resident size of a run with many items."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        for name in ("one", "two"):
            workspace.add_task(name, items // 2, settings=ENGINE)
        workspace.environ |= {"VLLM_EVAL_REQUEST_TIMEOUT_SECONDS": "120"}
        with running_server(workspace, latency=0.0) as server:
            workspace.set_models(workspace.model(server.url, concurrency=64))
            process = subprocess.Popen(
                [sys.executable, "-m", "vllm_eval", "run"], env={**os.environ, **workspace.environ},
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            asked = server.call("GET")["requests"]
    size = usage.ru_maxrss * 1024
    met = process.returncode == 0 and asked == items and size <= GOAL_MEMORY_BYTES
    print(f"memory with {asked} items: {size / 2**20:.0f} MiB, {_cpu(usage):.1f} s of CPU{_missed(met)}", flush=True)
    return met


def _missed(met: bool) -> str:
    return "" if met else "  MISSED"


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    """Run the bench, or with ``--raw`` the load generator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rows and pairs")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--raw", nargs=3, metavar=("BODIES", "URL", "CONCURRENCY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.raw:
        bodies, url, concurrency = options.raw
        asyncio.run(load(json.loads(Path(bodies).read_text()), url, int(concurrency)))
        return 0
    shapes = [(10, 10)] if options.quick else [(1, 1), (10, 1), (10, 10)]
    levels = [32] if options.quick else [1, 8, 32, 128]
    print("tasks settings concurrency  items     rate    of raw  [pairs, least .. most]  server's share of one core")
    good = []
    for tasks, settings in shapes:
        for concurrency in levels:
            cell = Cell(tasks, settings, concurrency)
            with_lm_eval = settings == 10 and concurrency == 32
            met, _ = bench_cell(cell, 2 if options.quick else options.pairs, with_lm_eval=with_lm_eval)
            good.append(met)
    for cell in [Cell(1, 1, concurrency, one_token=True) for concurrency in ([8] if options.quick else [8, 32])]:
        met, _ = bench_cell(cell, options.pairs, with_lm_eval=False)
        good.append(met)
    bench_stream(2 if options.quick else options.pairs)
    good.append(bench_overhead(3 if options.quick else 5))
    good.append(bench_memory(20_000))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
