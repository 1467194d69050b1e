"""Run the unit tests as two pytest processes: much of their time is waiting for servers that start.

Prints the output of each when both have ended; exits with the worse exit code.
"""

import signal
import subprocess
import sys
import tempfile
from typing import Final

INTERRUPTS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PARTS: Final = (("tests/unit",), ("--ignore=tests/unit",))


def main() -> int:
    """Run both parts; an interrupt is handed on, so that they stop what they started."""
    for number in INTERRUPTS:
        signal.signal(number, signal.default_int_handler)
    outputs = [tempfile.TemporaryFile("w+") for _ in PARTS]  # noqa: SIM115 -- they live as long as this program
    # An interrupt must reach them also where this program runs in the background, which ignores it.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "pytest", "-q"]
    running: list[subprocess.Popen[str]] = []
    try:
        for part, output in zip(PARTS, outputs, strict=True):
            # A process group of its own, or a terminal's interrupt would come twice, once in the midst of cleaning up.
            process = subprocess.Popen(
                [*command, *part], stdout=output, stderr=subprocess.STDOUT, text=True, start_new_session=True
            )
            running.append(process)
        codes = [each.wait() for each in running]
    except KeyboardInterrupt:
        for number in INTERRUPTS:
            signal.signal(number, signal.SIG_IGN)  # another one would leave them to clean up alone
        for each in running:
            each.send_signal(signal.SIGINT)
        codes = [each.wait() for each in running]
    for output in outputs:
        output.seek(0)
        print(output.read(), end="", flush=True)
    return max(codes, key=abs)


if __name__ == "__main__":
    sys.exit(main())
