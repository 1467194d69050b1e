"""How far a run is: one line that is rewritten on a terminal, a plain line now and then in a log."""

import logging
import sys
import time
from typing import TextIO

from vllm_eval.pool import PoolStats

log = logging.getLogger(__name__)

LOG_SECONDS = 15.0
TERMINAL_SECONDS = 0.1
BAR_WIDTH = 24


class Progress:
    """Shows ``done/total``, the rate and the time left.

    Parameters
    ----------
    total
        Requests that will be asked from now on.
    stats
        The run's counts as they are now; what they already hold is not counted.
    stream
        Where a terminal's bar goes; default: standard error.
    """

    def __init__(self, total: int, stats: PoolStats, stream: TextIO | None = None) -> None:
        self._total = total
        self._before = stats.answered
        self._tokens_before = stats.tokens
        self._stream = stream if stream is not None else sys.stderr
        self._terminal = self._stream.isatty()
        self._interval = TERMINAL_SECONDS if self._terminal else LOG_SECONDS
        self._start = time.monotonic()
        self._next = self._start + self._interval

    def update(self, stats: PoolStats) -> None:
        """Show the state if it is time to."""
        now = time.monotonic()
        done = stats.answered - self._before
        if now < self._next and not (self._terminal and done == self._total):
            return
        self._next = now + self._interval
        rate = done / max(now - self._start, 1e-9)
        # An engine with a client of its own does not say how many requests it will send.
        left = f", {(self._total - done) / rate:.0f} s left" if rate and self._total else ""
        share = f"{done}/{self._total}" if self._total else str(done)
        retries = f", {stats.retries} retries" if stats.retries else ""
        # Of long answers, few end in a while; their tokens tell that the server works.
        tokens = stats.tokens - self._tokens_before
        speed = f", {tokens / max(now - self._start, 1e-9):.0f} tokens/s" if tokens else ""
        text = f"{share} answers, {rate:.1f}/s{speed}{retries}{left}"
        if self._terminal:
            filled = BAR_WIDTH * done // self._total if self._total else 0
            self._stream.write(f"\r[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {text}\x1b[K")
            self._stream.flush()
        else:
            log.info("%s", text)

    def close(self) -> None:
        """Leave the terminal's line."""
        if self._terminal:
            self._stream.write("\n")
            self._stream.flush()
