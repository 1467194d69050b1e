"""The Pushgateway: one group for each model of a stack."""

import asyncio
import base64
import logging
import random
import time
from dataclasses import dataclass

import aiohttp

from vllm_eval.endpoint import describe, unused_proxies
from vllm_eval.errors import PublishError
from vllm_eval.metrics import PUSH_JOB
from vllm_eval.strict import without_credentials

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
        Base URL without a trailing slash; a user and password in it are sent as basic authentication.
    wait
        Seconds to go on trying while the gateway is down.
    """

    def __init__(self, url: str, *, wait: float) -> None:
        self._url = url
        self._shown = without_credentials(url)
        self._wait = wait

    def replace(self, stack: str, model: str, text: str) -> None:
        """Replace the whole group (PUT)."""
        asyncio.run(self._send("PUT", group_path(stack, model), text.encode()))

    def add(self, stack: str, model: str, text: str) -> None:
        """Replace only the metrics in ``text`` and leave the group's others (POST)."""
        asyncio.run(self._send("POST", group_path(stack, model), text.encode()))

    def delete(self, stack: str, model: str) -> None:
        """Delete the group, if there is one."""
        asyncio.run(self._send("DELETE", group_path(stack, model), b""))

    async def _send(self, method: str, path: str, body: bytes) -> None:
        start, attempt = time.monotonic(), 0
        while True:
            attempt += 1
            try:
                reply = await self._request(method, self._url + path, body)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                reason, final = f"{without_credentials(describe(error))}{unused_proxies()}", False
            else:
                if reply.taken:
                    return
                reason, final = without_credentials(reply.fault), reply.status < 500 and reply.status != 429
            pause = min(0.5 * 2 ** min(attempt - 1, 6), 10.0) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
            if final or time.monotonic() - start + pause > self._wait:
                raise PublishError(
                    f"the Pushgateway {self._shown} did not take the {method}: {reason}; the results are kept, "
                    "publish them with `vllm-eval publish` or by the next run"
                )
            log.warning("the Pushgateway did not answer, trying again in %.1f s: %s", pause, reason)
            await asyncio.sleep(pause)

    async def _request(self, method: str, url: str, body: bytes) -> "Reply":
        timeout = aiohttp.ClientTimeout(total=30, sock_connect=10)
        headers = {"Content-Type": "text/plain; version=0.0.4"}
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            # A redirected PUT would become a GET of some page.
            session.request(method, url, data=body or None, headers=headers, allow_redirects=False) as response,
        ):
            content = (await response.content.read(500)).decode("utf-8", "replace").strip()
            return Reply(response.status, content, response.headers.get("Location"))


@dataclass(frozen=True)
class Reply:
    """What came back: the HTTP status, the body's start, and where a redirect leads."""

    status: int
    content: str
    location: str | None

    @property
    def taken(self) -> bool:
        """Whether the gateway stored or deleted the group: then it answers 200 or 202 without a body."""
        return self.status in {200, 202} and not self.content

    @property
    def fault(self) -> str:
        """Say what is wrong with it."""
        if 300 <= self.status < 400:
            return f"HTTP {self.status}, a redirect to {self.location}; set the gateway's URL to the gateway itself"
        if self.status in {200, 202}:
            return (
                f"HTTP {self.status} with a text, which no Pushgateway sends (is it a proxy's page?): "
                f"{' '.join(self.content.split())[:120]}"
            )
        if self.status in {401, 403}:
            return f"HTTP {self.status}: the user or password in the gateway's URL is missing or wrong"
        return f"HTTP {self.status}: {self.content}"
