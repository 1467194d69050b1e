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
from vllm_eval.requests import NOT_ASKED, Answer, Failure, Request
from vllm_eval.secrets import Redactor
from vllm_eval.streams import ASKED

log = logging.getLogger(__name__)

# A request is given up after so many attempts, if as many others were answered
# that were asked after its first failure: then the fault lies with the request.
# Answers that were on their way at that time say nothing: the endpoint may have
# died since.
MAX_ATTEMPTS = 6
# After so many attempts in a row without an answer to anybody, others are
# asked first; and so many it takes for the endpoint to count as down, since a
# request that hangs until its time-out is one attempt, however long that took.
ATTEMPTS_IN_A_ROW = 3
# A request may take so long, and longer where it may bring many tokens: a busy endpoint gives each of its requests
# ten tokens a second and more.
LEAST_TIMEOUT_SECONDS = 300.0
SLOWEST_TOKEN_SECONDS = 0.1
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
    tokens: int = 0

    @property
    def rate(self) -> float | None:
        """Answers per second, first request to last answer; None without two answers."""
        return self._per_second(self.answered)

    @property
    def token_rate(self) -> float | None:
        """Generated tokens per second, of all requests together; None where the server does not count them."""
        return self._per_second(self.tokens) if self.tokens else None

    def _per_second(self, count: int) -> float | None:
        if self.first_request is None or self.last_answer is None or self.last_answer <= self.first_request:
            return None
        return count / (self.last_answer - self.first_request)


@dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """How the pool asks.

    ``endpoint``: the model's, for requests that want something else than a text.
    ``patience``: seconds of failures without any answer between them after
    which the endpoint counts as down; ``deadline``: end of the run in
    ``time.monotonic()`` seconds; ``timeout``: seconds of one request, None: as
    long as its tokens may take; ``stream``: answers come token by token.
    """

    url: str
    endpoint: str
    concurrency: int
    patience: float
    deadline: float
    timeout: float | None = None
    stream: bool = False


@dataclass
class _Tries:
    """How often a request failed, and when first (``time.monotonic()`` seconds)."""

    attempts: int = 0
    first_failure: float = 0.0

    def failed(self) -> None:
        """Count a failure."""
        self.attempts += 1
        if self.attempts == 1:
            self.first_failure = time.monotonic()


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
        self._tries: dict[str, _Tries] = {}
        # When the last answered requests were asked.
        self._answered_begun: deque[float] = deque(maxlen=10 * MAX_ATTEMPTS)
        self._failing_since: float | None = None
        self.stats = stats

    async def answer_all(self, requests: Sequence[Request]) -> dict[str, Answer | Failure]:
        """Ask all requests; their keys must differ.

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
        longest = {request.task: request for request in sorted(requests, key=_prompt_length)}
        # First the longest prompt of each task: if one does not fit, its task ends with it. Then long generations:
        # started last, they would be a tail that leaves the endpoint idle.
        queue = deque(
            sorted(requests, key=lambda request: (request is not longest[request.task], -_max_tokens(request)))
        )
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
                results[request.key] = Failure(f"{NOT_ASKED}, since another request of the task failed")
                continue
            outcome = await self._try(request)
            if outcome is None:
                # Later, when others have been asked: they tell whether the fault is the request's.
                queue.append(request)
                continue
            if isinstance(outcome, Failure):
                self._failed_tasks.add(request.task)
                named = "" if outcome.reason.startswith("item ") else f"item {request.doc_id}: "
                log.error("task %s, %s%s", request.task, named, outcome.reason)
            results[request.key] = outcome

    async def ask(self, request: Request) -> Answer | Failure:
        """Ask one request until it is answered or given up; the caller bounds how many at a time.

        Raises
        ------
        EndpointError
            As for :meth:`answer_all`.
        """
        while True:
            outcome = await self._try(request)
            if outcome is not None:
                return outcome

    async def _try(self, request: Request) -> Answer | Failure | None:
        """Ask one request a few times in a row; None: neither answered nor given up yet."""
        settings = self._settings
        stream = settings.stream and request.wanted is None
        payload = {**request.payload, **ASKED} if stream else request.payload
        body = json.dumps(payload, ensure_ascii=False).encode("utf-8", "surrogatepass")
        timeout = settings.timeout or max(LEAST_TIMEOUT_SECONDS, _max_tokens(request) * SLOWEST_TOKEN_SECONDS)
        tries = self._tries.get(request.key) or self._first_try(request)
        for attempt in range(1, ATTEMPTS_IN_A_ROW + 1):
            begun = time.monotonic()
            outcome = await ask_once(
                self._session, self._url(request), body, self._redactor,
                timeout=timeout, stream=stream, wanted=request.wanted,
            )  # fmt: skip
            if isinstance(outcome, Answer):
                self._answered(request, outcome, begun)
                return outcome
            if isinstance(outcome, Rejected):
                if outcome.everywhere:
                    raise EndpointError(f"{self._settings.url} refuses requests: {outcome.reason}")
                named = f"item {request.doc_id}: " if outcome.cause == "input" else ""
                return Failure(f"{named}{outcome.reason}", cause=outcome.cause)
            tries.failed()
            if outcome.stated and tries.attempts >= ATTEMPTS_IN_A_ROW:
                reason = f"item {request.doc_id}: given up after {tries.attempts} attempts: {outcome.reason}"
                return Failure(reason, cause="verification")
            others = sum(moment > tries.first_failure for moment in self._answered_begun)
            if min(tries.attempts, others) >= MAX_ATTEMPTS:
                return Failure(
                    f"given up after {tries.attempts} attempts, while others were answered: {outcome.reason}"
                )
            # A server that says why it refuses this request answers; it is not silent.
            silent = 0.0 if outcome.stated else self._silence(tries, outcome)
            await self._pause(attempt, silent, outcome)
        return None

    def _url(self, request: Request) -> str:
        return self._settings.url if request.wanted is None else address(self._settings.endpoint, request.wanted.path)

    def _first_try(self, request: Request) -> _Tries:
        self.stats.asked += request.wanted is None or request.wanted.recorded
        if self.stats.first_request is None:
            self.stats.first_request = time.monotonic()
        tries = self._tries[request.key] = _Tries()
        return tries

    def _answered(self, request: Request, answer: Answer, begun: float) -> None:
        self._on_answer(request, answer)
        self._answered_begun.append(begun)
        self._tries.pop(request.key, None)
        self._failing_since = None
        self.stats.last_answer = time.monotonic()
        self.stats.answered += 1
        self.stats.tokens += answer.tokens or 0
        if answer.served is not None:
            self.stats.served.add(answer.served)
        self._on_progress(self.stats)

    def _silence(self, tries: _Tries, outcome: Retry) -> float:
        """Return for how many seconds nobody was answered.

        Raises
        ------
        EndpointError
            Too long.
        """
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        silent = now - self._failing_since
        if silent > self._settings.patience and tries.attempts >= ATTEMPTS_IN_A_ROW:
            raise EndpointError(
                f"{self._settings.url} has answered nobody for {silent:.0f} s, last: {outcome.reason}; "
                "recorded answers are kept for the next attempt"
            )
        return silent

    async def _pause(self, attempt: int, silent: float, outcome: Retry) -> None:
        self.stats.retries += 1
        # The longer nobody is answered, the less an endpoint in trouble is pressed.
        longest = min(max(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1), silent / 2), LONGEST_PAUSE_SECONDS)
        # So that a short patience is not overslept by a long pause.
        longest = min(longest, max(self._settings.patience / 4, FIRST_PAUSE_SECONDS))
        pause = max(random.uniform(longest / 2, longest), outcome.after or 0.0)  # noqa: S311 - jitter
        if self.stats.retries <= 3 or self.stats.retries % 100 == 0:
            log.warning("asking again in %.1f s (retry %d of this run): %s", pause, self.stats.retries, outcome.reason)
        await asyncio.sleep(pause)


def address(endpoint: str, path: str) -> str:
    """Return the URL of a path (:class:`ResponseKind`): below the endpoint, or below the server's root."""
    return f"{endpoint.removesuffix('/v1')}{path}" if path[0] == "/" else f"{endpoint}/{path}"


def _prompt_length(request: Request) -> int:
    messages = request.payload.get("messages")
    if isinstance(messages, list):
        return sum(len(str(message.get("content") or "")) for message in messages)
    return len(str(request.payload.get("prompt") or ""))


def _max_tokens(request: Request) -> int:
    value = request.payload.get("max_tokens", 0)
    return value if isinstance(value, int) else 0
