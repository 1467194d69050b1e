"""The Pushgateway: one group for each model of a stack."""

import asyncio
import base64
import logging
import random
import time

import aiohttp

from vllm_eval.endpoint import describe
from vllm_eval.errors import PublishError
from vllm_eval.metrics import PUSH_JOB

log = logging.getLogger(__name__)


def group_path(stack: str, model: str) -> str:
    """Return the URL path of a group; values are base64url, since model names hold slashes.

    An empty value is ``=``: the gateway takes an empty path segment for an error.
    """

    def encoded(value: str) -> str:
        return base64.urlsafe_b64encode(value.encode()).decode().rstrip("=") or "="

    return f"/metrics/job/{PUSH_JOB}/stack@base64/{encoded(stack)}/model@base64/{encoded(model)}"


class Gateway:
    """Replaces, adds to or deletes groups, with retries.

    Parameters
    ----------
    url
        Base URL without a trailing slash.
    wait
        Seconds to go on trying while the gateway is down.
    """

    def __init__(self, url: str, *, wait: float) -> None:
        self.url = url
        self._wait = wait

    def replace(self, stack: str, model: str, text: str) -> None:
        """Replace the whole group (PUT)."""
        asyncio.run(self._send("PUT", group_path(stack, model), text.encode()))

    def add(self, stack: str, model: str, text: str) -> None:
        """Replace only the metrics in ``text`` and leave the group's others (POST)."""
        asyncio.run(self._send("POST", group_path(stack, model), text.encode()))

    def delete(self, stack: str, model: str) -> None:
        """Delete the group; one that is not there is fine."""
        asyncio.run(self._send("DELETE", group_path(stack, model), b""))

    async def _send(self, method: str, path: str, body: bytes) -> None:
        start, attempt = time.monotonic(), 0
        while True:
            attempt += 1
            try:
                status, content = await self._request(method, self.url + path, body)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                reason, final = describe(error), False
            else:
                if status in {200, 202}:
                    return
                reason, final = f"HTTP {status}: {content}", status < 500 and status != 429
            pause = min(0.5 * 2 ** min(attempt - 1, 6), 10.0) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
            if final or time.monotonic() - start + pause > self._wait:
                raise PublishError(
                    f"the Pushgateway {self.url} did not take the {method}: {reason}; the results are kept, "
                    "publish them with `vllm-eval publish` or by the next run"
                )
            log.warning("the Pushgateway did not answer, trying again in %.1f s: %s", pause, reason)
            await asyncio.sleep(pause)

    async def _request(self, method: str, url: str, body: bytes) -> tuple[int, str]:
        timeout = aiohttp.ClientTimeout(total=30, sock_connect=10)
        headers = {"Content-Type": "text/plain; version=0.0.4"}
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, url, data=body or None, headers=headers) as response,
        ):
            content = await response.content.read(500)
            return response.status, content.decode("utf-8", "replace").strip()
