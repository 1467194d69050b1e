"""Running commands, telling what happens, and failing with one clear message."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

T = TypeVar("T")


class WorkbenchError(Exception):
    """What went wrong and what to do about it. The command line prints it without a traceback."""


class CommandError(WorkbenchError):
    """A command that failed; `output` is all that it printed."""

    def __init__(self, words: Sequence[str], end: str, output: str, log: Path | None) -> None:
        self.output = output.strip()
        tail = "\n".join(self.output.splitlines()[-15:])
        where = f"\n(all of it: {log})" if log else ""
        super().__init__(f"{end} of: {' '.join(words)}\n{tail}{where}")

    @property
    def last(self) -> str:
        """The last line that it printed, where most programs say why."""
        return (self.output.splitlines() or ["it printed nothing"])[-1]


def say(text: str) -> None:
    """Print one line of progress at once, also into a pipe."""
    print(text, flush=True)


class Runner(Protocol):
    """Where commands run: inside the sandbox, or against a cluster of the caller's own."""

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
        """Run a command there; see `run`."""
        ...


@contextmanager
def stage(title: str) -> Iterator[None]:
    """Print what begins and how long it took."""
    started = time.monotonic()
    say(f"• {title} …")
    try:
        yield
    except BaseException:
        say(f"  {title}: failed after {time.monotonic() - started:.0f} s")
        raise
    say(f"  {title}: {time.monotonic() - started:.1f} s")


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float = 600,
    log: Path | None = None,
) -> str:
    """Run a command and return its standard output.

    Raises
    ------
    CommandError
        With the command, its end and the last lines of its output, when it fails or takes too long.
    WorkbenchError
        When there is no such program.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, env=env, cwd=cwd, input=stdin, timeout=timeout, text=True, capture_output=True, check=False
        )
    except FileNotFoundError as missing:
        raise WorkbenchError(f"{words[0]}: no such program") from missing
    except subprocess.TimeoutExpired as expired:
        output = b"".join(each for each in (expired.stdout, expired.stderr) if isinstance(each, bytes))
        _keep(log, text := output.decode(errors="replace"))
        raise CommandError(words, f"still running after {timeout:.0f} s", text, log) from expired
    _keep(log, done.stdout + done.stderr)
    if done.returncode != 0:
        raise CommandError(words, f"exit code {done.returncode}", done.stdout + done.stderr, log)
    return done.stdout


def _keep(log: Path | None, output: str) -> None:
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(output)


def wait_for(what: str, probe: Callable[[], T | None], *, seconds: float, interval: float = 0.5) -> T:
    """Call `probe` until it returns something true.

    Raises
    ------
    WorkbenchError
        After `seconds`, with the last thing that the probe said.
    """
    deadline = time.monotonic() + seconds
    last = "nothing yet"
    while time.monotonic() < deadline:
        try:
            if seen := probe():
                return seen
        except WorkbenchError as error:
            last = str(error)
        time.sleep(interval)
    raise WorkbenchError(f"{what}: timed out after {seconds:.0f} s; last seen: {last}")


def fail(error: WorkbenchError) -> int:
    """Print the error for people and return the exit code."""
    print(f"\nerror: {error}", file=sys.stderr)
    return 1
