"""Evalchemy's own chat benchmarks, run by its pinned checkout in a virtual environment of its own.

Evalchemy ends with 0 and an empty or missing result when something failed, so
nothing that it says is believed without a count: how many questions its data
holds, how many requests came through the relay, how many items it scored, and which
of its answers are right (:mod:`.evalchemy_samples`). Where these sums differ
from its own, there are no samples, and scores are compared by their shares.
"""

import contextlib
import json
import logging
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vllm_eval.engines.base import EngineJob, TaskOutcome, counted, unanswered
from vllm_eval.engines.evalchemy_samples import read_samples, thoughts_of
from vllm_eval.engines.repeats import further_scores
from vllm_eval.errors import DeadlineError
from vllm_eval.models import Model
from vllm_eval.power import Size
from vllm_eval.records import finite
from vllm_eval.relay import Relay
from vllm_eval.requests import Answer
from vllm_eval.tasks import Task, lay_over
from vllm_eval.thoughts import Rule, spoken_of

log = logging.getLogger(__name__)

DEFAULT_HOME = "/opt/evalchemy"
POLL_SECONDS = 0.2
TAIL_LINES = 5


@dataclass(frozen=True)
class Benchmark:
    """One benchmark whose data is in the checkout and which runs no code that a model wrote.

    ``data`` (JSON Lines) is relative to the checkout; ``metric`` is the key of
    its score, a share; ``repeats`` is how often it asks each question.
    """

    data: str
    metric: str
    repeats: int


BENCHMARKS: Mapping[str, Benchmark] = {
    "AIME24": Benchmark("eval/chat_benchmarks/AIME24/data/aime24.json", "accuracy_avg", 10),
    "AIME25": Benchmark("eval/chat_benchmarks/AIME25/data/aime25.json", "accuracy_avg", 10),
    "AMC23": Benchmark("eval/chat_benchmarks/AMC23/data/amc23.json", "accuracy_avg", 10),
    "MATH500": Benchmark("eval/chat_benchmarks/MATH500/data/math500.jsonl", "accuracy", 1),
}


class EvalchemyEngine:
    """Runs one process for each benchmark, so that a failing one does not end the others.

    ``VLLM_EVAL_EVALCHEMY_HOME`` (default ``/opt/evalchemy``) holds ``checkout``,
    ``venv`` and ``commit``, a file with the checkout's commit.
    """

    name = "evalchemy"

    @cached_property
    def _home(self) -> Path:
        return Path(os.environ.get("VLLM_EVAL_EVALCHEMY_HOME") or DEFAULT_HOME)

    @cached_property
    def version(self) -> str:
        """The checkout's commit, such as ``evalchemy 6ed674159b37``."""
        path = self._home / "commit"
        commit = path.read_text(encoding="utf-8").strip() if path.is_file() else "unknown"
        return f"evalchemy {commit[:12]}"

    def check(self, tasks: Sequence[Task], model: Model) -> list[str]:
        """Refuse what this image lacks, and what Evalchemy would run wrongly without saying so."""
        names = ", ".join(task.name for task in tasks)
        if not (self._home / "checkout" / "eval" / "eval.py").is_file():
            return [f"{names}: this image has no Evalchemy ({self._home}); use the image's target `evalchemy`"]
        found = [problem for task in tasks for problem in self._check_task(task)]
        if model.api != "chat":
            found.append(f"{names}: Evalchemy's benchmarks need the chat API; set the model's api to chat")
        # Its lm_eval takes any name with "o1" in it for OpenAI's o1 and drops temperature and stop.
        if any(text in model.asked_name for text in ("o1", "4o", ",", "=")):
            found.append(
                f"{names}: Evalchemy changes requests to models with 'o1', '4o', ',' or '=' in their name; "
                f"serve {model.asked_name!r} under another name (--served-model-name) and set served_name"
            )
        return found

    def _check_task(self, task: Task) -> list[str]:
        benchmark = BENCHMARKS.get(task.name)
        if benchmark is None:
            known = ", ".join(BENCHMARKS)
            return [f"{task.name}: Evalchemy runs {known} here; other tasks run on the engine lm_eval"]
        if not (self._home / "checkout" / benchmark.data).is_file():
            return [f"{task.name}: its data {benchmark.data} is missing in the image"]
        if lay_over({}, task.settings, {}):
            return [f"{task.name}: num_fewshot and generation are for lm_eval's tasks; of Evalchemy's, set max_tokens"]
        if task.samples > 1:
            return [f"{task.name}: Evalchemy asks each question {benchmark.repeats} times by itself; remove samples"]
        items = self._items(benchmark)
        if task.limit is not None and task.limit < items:
            return [f"{task.name}: Evalchemy cannot limit its benchmarks (limit {task.limit}, {items} items)"]
        return []

    def size(self, task: Task) -> Size:
        """Say how much a benchmark asks."""
        benchmark = BENCHMARKS[task.name]
        # AIME and AMC sample by themselves; a benchmark that asks once decodes greedily.
        return Size(items=self._items(benchmark), repeats=benchmark.repeats, sampled=benchmark.repeats > 1)

    def warm_up(self) -> None:
        """Nothing is imported here."""

    def run(self, job: EngineJob) -> dict[str, TaskOutcome]:
        """Run the benchmarks one after the other.

        Raises
        ------
        EndpointError
            The endpoint died.
        DeadlineError
            The deadline passed.
        """
        return {task.name: self._run_task(job, task) for task in job.tasks}

    def _run_task(self, job: EngineJob, task: Task) -> TaskOutcome:
        benchmark = BENCHMARKS[task.name]
        with tempfile.TemporaryDirectory(prefix="evalchemy-") as folder, job.relay(task) as relay:
            process = self._process(job, task, relay, Path(folder))
            if relay.error is not None:
                raise relay.error
            results = _read_results(Path(folder) / "results")
        return _outcome(task, self._items(benchmark), relay, process, (results or {}).get(task.name))

    def _process(self, job: EngineJob, task: Task, relay: Relay, folder: Path) -> "_Ended":
        with (folder / "log").open("w+", encoding="utf-8", errors="replace") as output:
            process = subprocess.Popen(
                self._command(job, task, relay, folder),
                cwd=self._home / "checkout",
                env=self._environment(relay, folder),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                # A session of its own, so that its children end with it.
                start_new_session=True,
            )
            try:
                while process.poll() is None and relay.error is None:
                    if time.monotonic() > job.deadline:
                        raise DeadlineError(f"{task.name}: the deadline passed while Evalchemy was running")
                    time.sleep(POLL_SECONDS)
            finally:
                _kill_group(process)
            output.seek(0)
            lines = [line.strip() for line in output if line.strip()]
        for line in lines[-TAIL_LINES:]:
            log.debug("evalchemy: %s", line)
        return _Ended(process.returncode, " | ".join(lines[-TAIL_LINES:]))

    def _command(self, job: EngineJob, task: Task, relay: Relay, folder: Path) -> list[str]:
        seconds = max(int(job.deadline - time.monotonic()), 1)
        # One attempt: the relay retries. openai-chat-completions is the one model of
        # Evalchemy's that passes a benchmark's token limit on.
        arguments = {
            "base_url": f"{relay.url}/chat/completions",
            "model": job.model.asked_name,
            "num_concurrent": max(job.model.concurrency, 2),
            "max_retries": 1,
            "timeout": min(seconds, 10**6),
        }
        limit = ["--max_tokens", str(task.settings.max_tokens)] if task.settings.max_tokens is not None else []
        return [
            str(self._home / "venv" / "bin" / "python"), "-m", "eval.eval",
            "--model", "openai-chat-completions",
            "--model_args", ",".join(f"{key}={value}" for key, value in arguments.items()),
            "--tasks", task.name, "--batch_size", "1", "--apply_chat_template", "True",
            "--output_path", str(folder / "results"), *limit,
        ]  # fmt: skip

    def _environment(self, relay: Relay, folder: Path) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
        return {
            **kept, "HOME": str(folder), "TMPDIR": str(folder), "OPENAI_API_KEY": relay.token,
            "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "NO_PROXY": "127.0.0.1",
        }  # fmt: skip

    def _items(self, benchmark: Benchmark) -> int:
        text = (self._home / "checkout" / benchmark.data).read_text(encoding="utf-8")
        return sum(bool(line.strip()) for line in text.splitlines())


@dataclass(frozen=True)
class _Ended:
    """How the process ended, and its last words in one line."""

    code: int
    words: str


def _kill_group(process: "subprocess.Popen[Any]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read_results(folder: Path) -> Mapping[str, Any] | None:
    """Read the one results file; None if there is none or it is damaged."""
    files = sorted(folder.rglob("results_*.json"))
    if len(files) != 1:
        return None
    try:
        content = json.loads(files[0].read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    results = content.get("results") if isinstance(content, dict) else None
    return results if isinstance(results, dict) else None


def _outcome(task: Task, items: int, relay: Relay, ended: _Ended, row: object) -> TaskOutcome:
    failed = unanswered(relay.answers, items)
    problems = [*(failed.problems if failed is not None else []), *_problems(task.name, items, relay, ended, row)]
    fields: Mapping[str, Any] = row if isinstance(row, dict) else {}
    found = ((name, finite(value)) for name, value in fields.items())
    metrics = {(name, "none"): number for name, number in found if number is not None}
    benchmark = BENCHMARKS[task.name]
    primary = (benchmark.metric, "none")
    samples = None if problems or primary not in metrics else read_samples(fields, benchmark.repeats)
    further = further_scores(samples) if samples else {}
    outcome = TaskOutcome(
        metrics={**metrics, **{(metric, "none"): value for metric, value in further.items()}},
        # Its own error bar knows the repeats only, not that other questions could have been asked.
        primary=primary if primary in metrics else None,
        samples=samples,
        answered=int(metrics.get(("num_total", "none"), 0)),
        expected=items,
        problems=problems,
        cause=(failed.cause if failed is not None else "endpoint") if problems else None,
        repeats=benchmark.repeats,
    )
    given = [
        (prompt, answer)
        for prompt, answer in zip(relay.prompts, relay.answers, strict=True)
        if isinstance(answer, Answer)
    ]
    # Each alone, as the relay judged it for its client.
    spoken = [spoken_of([answer], Rule(asking=task.asking))[0] for _, answer in given]
    inner = thoughts_of(samples or (), [(prompt, said) for (prompt, _), said in zip(given, spoken, strict=True)])
    answers = [answer for _, answer in given]
    return replace(counted(outcome, answers, spoken), answers=len(relay.answers), inner=inner)


def _problems(task: str, items: int, relay: Relay, ended: _Ended, row: object) -> list[str]:
    found = []
    if ended.code != 0:
        found.append(f"Evalchemy ended with {ended.code}: {ended.words}")
    if not isinstance(row, dict):
        found.append(f"Evalchemy left no result for {task}: {ended.words}")
        return found
    wanted = items * BENCHMARKS[task].repeats
    if len(relay.answers) != wanted:
        found.append(f"Evalchemy asked {len(relay.answers)} times, {wanted} were expected")
    if row.get("num_repeat", 1) != BENCHMARKS[task].repeats:
        found.append(f"Evalchemy repeated each question {row.get('num_repeat')} times")
    return found
