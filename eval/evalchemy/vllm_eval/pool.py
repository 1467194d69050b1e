"""One pool for all requests of a model, whatever their task and generation settings.

lm_eval groups requests by their generation settings and drains each group
before the next, so that the endpoint idles while the slowest answer of every
group is awaited. Here ``concurrency`` workers take requests from one queue.
"""

import asyncio
import json
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import aiohttp

from vllm_eval.completions import Rejected, Retry, ask_once
from vllm_eval.errors import DeadlineError, EndpointError
from vllm_eval.requests import Answer, Failure, Request
from vllm_eval.secrets import Redactor

log = logging.getLogger(__name__)

# A request is given up after so many attempts, if the endpoint answered at
# least as many others meanwhile: then the fault lies with the request.
MAX_ATTEMPTS = 6
# The endpoint counts as down after so many attempts at least: a request that
# hangs until its time-out is one attempt, however long that took.
MIN_ATTEMPTS = 3
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0


@dataclass
class PoolStats:
    """Counts of one run; times are ``time.monotonic()`` seconds, None before the first request."""

    asked: int = 0
    answered: int = 0
    retries: int = 0
    first_request: float | None = None
    last_answer: float | None = None
    served: set[str] = field(default_factory=set)

    @property
    def rate(self) -> float | None:
        """Answers per second, first request to last answer; None without two answers."""
        if self.first_request is None or self.last_answer is None or self.last_answer <= self.first_request:
            return None
        return self.answered / (self.last_answer - self.first_request)


@dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """How the pool asks.

    ``patience``: seconds of failures without any answer between them after
    which the endpoint counts as down; ``deadline``: end of the run in ``time.monotonic()`` seconds.
    """

    url: str
    concurrency: int
    patience: float
    deadline: float


class RequestPool:
    """Asks many requests with bounded concurrency.

    Parameters
    ----------
    session
        An open session to the endpoint.
    on_answer
        Called for every answer before it counts; makes it durable.
    on_progress
        Called after every answer.
    stats
        Counted up here; several calls of one run share it.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        settings: PoolSettings,
        redactor: Redactor,
        *,
        on_answer: Callable[[Request, Answer], None],
        on_progress: Callable[[PoolStats], None],
        stats: PoolStats,
    ) -> None:
        self._session = session
        self._settings = settings
        self._redactor = redactor
        self._on_answer = on_answer
        self._on_progress = on_progress
        self._failed_tasks: set[str] = set()
        self._failing_since: float | None = None
        self.stats = stats

    async def answer_all(self, requests: Sequence[Request]) -> dict[str, Answer | Failure]:
        """Ask all requests.

        When a request is given up, the rest of its task is not asked: the
        task cannot pass any more, and the endpoint's time is dear.

        Returns
        -------
        dict
            Request key to its answer, or to the reason that there is none.

        Raises
        ------
        EndpointError
            The endpoint answers nobody any more, or refuses everything.
        DeadlineError
            The deadline passed; finished answers are recorded.
        """
        # Long generations first: started last, they would be a tail that leaves the endpoint idle.
        queue = deque(sorted(requests, key=lambda request: -_max_tokens(request)))
        results: dict[str, Answer | Failure] = {}
        workers = min(self._settings.concurrency, len(queue))
        try:
            async with asyncio.timeout(self._settings.deadline - time.monotonic()), asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._work(queue, results))
        except TimeoutError:
            raise DeadlineError(
                f"the deadline passed with {len(requests) - len(results)} of {len(requests)} answers missing"
            ) from None
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return results

    async def _work(self, queue: deque[Request], results: dict[str, Answer | Failure]) -> None:
        while queue:
            request = queue.popleft()
            if request.task in self._failed_tasks:
                results[request.key] = Failure("not asked, since another request of the task failed")
                continue
            outcome = await self.ask(request)
            if isinstance(outcome, Failure):
                self._failed_tasks.add(request.task)
                log.error("task %s, item %s: %s", request.task, request.doc_id, outcome.reason)
            results[request.key] = outcome

    async def ask(self, request: Request) -> Answer | Failure:
        """Ask one request until it is answered or given up; the caller bounds how many at a time.

        Raises
        ------
        EndpointError
            As for :meth:`answer_all`.
        """
        body = json.dumps(request.payload, ensure_ascii=False).encode("utf-8", "surrogatepass")
        attempts, answered_before = 0, self.stats.answered
        self.stats.asked += 1
        if self.stats.first_request is None:
            self.stats.first_request = time.monotonic()
        while True:
            attempts += 1
            outcome = await ask_once(self._session, self._settings.url, body, self._redactor)
            if isinstance(outcome, Answer):
                self._on_answer(request, outcome)
                self._failing_since = None
                self.stats.last_answer = time.monotonic()
                self.stats.answered += 1
                if outcome.served is not None:
                    self.stats.served.add(outcome.served)
                self._on_progress(self.stats)
                return outcome
            if isinstance(outcome, Rejected):
                if outcome.everywhere:
                    raise EndpointError(f"{self._settings.url} refuses requests: {outcome.reason}")
                return Failure(outcome.reason)
            if attempts >= MAX_ATTEMPTS and self.stats.answered - answered_before >= MAX_ATTEMPTS:
                return Failure(f"given up after {attempts} attempts, while others were answered: {outcome.reason}")
            await self._pause(attempts, outcome)

    async def _pause(self, attempts: int, outcome: Retry) -> None:
        self.stats.retries += 1
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        silent = now - self._failing_since
        if silent > self._settings.patience and attempts >= MIN_ATTEMPTS:
            raise EndpointError(
                f"{self._settings.url} has answered nobody for {silent:.0f} s, last: {outcome.reason}; "
                "recorded answers are kept for the next attempt"
            )
        longest = min(FIRST_PAUSE_SECONDS * 2 ** min(attempts - 1, 10), LONGEST_PAUSE_SECONDS)
        pause = random.uniform(longest / 2, longest)  # noqa: S311 - jitter
        if outcome.after is not None:
            pause = max(outcome.after, pause)
        elif self._settings.patience:
            # So that a short patience is not overslept by a long pause.
            pause = min(pause, self._settings.patience / 4)
        if self.stats.retries <= 3 or self.stats.retries % 100 == 0:
            log.warning("asking again in %.1f s (retry %d of this run): %s", pause, self.stats.retries, outcome.reason)
        await asyncio.sleep(pause)


def _max_tokens(request: Request) -> int:
    value = request.payload.get("max_tokens", 0)
    return value if isinstance(value, int) else 0
