"""How far a run is: one line that is rewritten on a terminal, a plain line now and then in a log."""

import logging
import sys
import time
from typing import TextIO

from vllm_eval.pool import PoolStats

log = logging.getLogger(__name__)

LOG_SECONDS = 15.0
TERMINAL_SECONDS = 0.1


class Progress:
    """Shows ``done/total``, the rate and the time left.

    Parameters
    ----------
    total
        Requests to ask.
    taken_over
        Answers that an earlier attempt already has.
    """

    def __init__(self, total: int, taken_over: int, stream: TextIO | None = None) -> None:
        self._total = total
        self._stream = stream if stream is not None else sys.stderr
        self._terminal = self._stream.isatty()
        self._interval = TERMINAL_SECONDS if self._terminal else LOG_SECONDS
        self._next = time.monotonic() + self._interval
        if taken_over:
            log.info("%d answers are taken over from an unfinished run", taken_over)

    def update(self, stats: PoolStats) -> None:
        """Show the state if it is time to."""
        now = time.monotonic()
        if now < self._next and not (self._terminal and stats.answered == self._total):
            return
        self._next = now + self._interval
        rate = stats.rate or 0.0
        left = f", {(self._total - stats.answered) / rate:.0f} s left" if rate else ""
        retries = f", {stats.retries} retries" if stats.retries else ""
        text = f"{stats.answered}/{self._total} answers, {rate:.1f}/s{retries}{left}"
        if self._terminal:
            width = 24
            filled = width * stats.answered // max(self._total, 1)
            self._stream.write(f"\r[{'#' * filled}{'.' * (width - filled)}] {text}\x1b[K")
            self._stream.flush()
        else:
            log.info("%s", text)

    def close(self) -> None:
        """Leave the terminal's line."""
        if self._terminal:
            self._stream.write("\n")
            self._stream.flush()
