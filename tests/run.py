"""Run make targets in order, stop at the first that fails, and print how long each took.

An argument is TARGET or TARGET:SECONDS, its budget: beyond it the line says so, and somebody has to cut. It is no
failure, since machines differ. Of TARGET,TARGET the second runs beside the first, and gives way to it where the kernel
weighs processes and not whole sessions; what it prints comes when it has ended, or when both are interrupted.

With --again, tests that fail run once more, when nothing runs beside them. If they pass then, the target passes, and
its line names it flaky: each of them is a fault of its own, in a test or in what it tests.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# A closed terminal, too. In the background a shell lets what it starts ignore an interrupt.
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MAKE = ["env", "--default-signal=INT", "make", "--no-print-directory"]
# No test at all is a failure to pytest: whatever else made the target fail is no pass.
AGAIN = "--last-failed --last-failed-no-failures=none --exitfirst"


class Target:
    """A target that runs, in a process group of its own, so that an interrupt reaches each process once."""

    def __init__(self, argument: str, *, beside: bool = False, again: bool = False) -> None:
        self.argument, self.again = argument, again
        self.name, _, self.budget = argument.partition(":")
        self.began = time.monotonic()
        self.line = ""
        self.kept = tempfile.TemporaryFile() if beside else None  # noqa: SIM115 -- it lives as long as the target
        print(f"=== make {self.name}{', beside it' if beside else ', again' if again else ''}", flush=True)
        # What failed is remembered for each target. Workers of xdist read the command line alone.
        options = f"-o cache_dir=.pytest_cache/{self.name} {AGAIN if again else ''}"
        nice = ["nice", "-n", "19"] if beside else []
        self.process = subprocess.Popen(
            [*nice, *MAKE, self.name, f"PYTEST_OPTIONS={options}"],
            stdout=self.kept,
            stderr=self.kept,
            start_new_session=True,
        )

    def ended(self) -> bool:
        """Tell whether it has ended; the first time also print what was kept, and take the time."""
        if self.process.poll() is None:
            return False
        if not self.line:
            took = int(time.monotonic() - self.began)
            self.line = f"{took:8} s  {self.name}"
            if self.budget:
                self.line += f"  of {self.budget} s" + (": over budget" if took > int(self.budget) else "")
            if self.process.returncode:
                self.line += f"\n          {self.name} failed"
            elif self.again:
                self.line += f"\n          {self.name} is flaky: what had failed has passed"
            if self.kept:
                print(f"=== make {self.name} printed", flush=True)
                self.kept.seek(0)
                sys.stdout.buffer.write(self.kept.read())
                sys.stdout.flush()
        return True

    def interrupt(self) -> None:
        """Interrupt it if it runs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)


def run(argument: str, *, again: bool = False) -> list[Target]:
    """Run one target, or several side by side, to their ends."""
    targets: list[Target] = []
    try:
        for name in argument.split(","):
            targets.append(Target(name, beside=bool(targets), again=again))
        while not all([each.ended() for each in targets]):  # noqa: C419 -- each must be asked
            time.sleep(0.1)
    except KeyboardInterrupt:
        for number in INTERRUPTS:
            signal.signal(number, signal.SIG_IGN)  # another one would leave them to clean up alone
        for each in targets:
            each.interrupt()
        for each in targets:
            each.process.wait()  # until it has cleaned up
            with contextlib.suppress(OSError):  # the terminal may be closed
                each.ended()
        raise
    return targets


def main() -> int:
    """Run the targets of the command line."""
    for number in INTERRUPTS:
        signal.signal(number, signal.default_int_handler)
    os.chdir(Path(__file__).resolve().parents[1])
    began, lines, result = time.monotonic(), [], 0
    arguments = sys.argv[1:]
    once_more = arguments[0] == "--again"
    for argument in arguments[once_more:]:
        targets = run(argument)
        lines += [each.line for each in targets]
        failed = [each for each in targets if each.process.returncode]
        if once_more and all(each.name.startswith("test-") for each in failed):
            again = [run(each.argument, again=True)[0] for each in failed]
            lines += [each.line for each in again]
            failed = [each for each in again if each.process.returncode]
        if result := max((abs(each.process.returncode) for each in failed), default=0):
            break
    print("", *lines, f"{int(time.monotonic() - began):8} s  in all", sep="\n", flush=True)
    return result


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
