"""The model's endpoint: the session that reaches it, and whether it serves the model asked for."""

import asyncio
import json
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from vllm_eval.errors import DeadlineError, EndpointError, EndpointRefusedError, VllmEvalError
from vllm_eval.models import Model
from vllm_eval.secrets import Redactor, header_key, read_secret, tls_context

log = logging.getLogger(__name__)

# While a deployment is replaced, the old model may answer for a short time.
WRONG_MODEL_GRACE_SECONDS = 60.0
MAX_LIST_BYTES = 4 << 20
PROXY_VARIABLES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@dataclass(frozen=True)
class Access:
    """How a model is reached: the key (None: no key) and a private authority's certificate in PEM form."""

    api_key: str | None
    ca_pem: str | None


@dataclass(frozen=True)
class Served:
    """What /v1/models says about the model; equal at the start and the end unless it was swapped.

    ``root`` are the weights, ``parent`` the model that an adapter (LoRA) is laid
    on. ``aliases`` are the ids of the same weights, the asked one included:
    those of one root and one parent. ``others`` are the other ids of the
    endpoint. vLLM's ``created`` is the time of the answer and tells nothing, so
    it is left out.
    """

    id: str
    root: str | None
    parent: str | None
    max_model_len: int | None
    aliases: frozenset[str]
    others: frozenset[str]

    def same_model(self, other: "Served") -> bool:
        """Whether both describe the same weights under the same name."""
        mine = (self.id, self.root, self.parent, self.max_model_len)
        return mine == (other.id, other.root, other.parent, other.max_model_len)


def read_access(model: Model, folder: Path, redactor: Redactor, fallback_key: str | None) -> Access:
    """Read the model's key and certificate and hide the key from now on.

    ``fallback_key`` (``OPENAI_API_KEY``) is used when the model names no key.
    """
    if model.api_key:
        key = read_secret(folder, model.api_key, model=model.name, field="api_key")
        source = f"the key {model.api_key!r} of the Secret vllm-eval-endpoints (api_key of model {model.name!r})"
    else:
        key, source = fallback_key or "", "the variable OPENAI_API_KEY"
    for form in (key, key.strip()):
        if form:
            redactor.add(form)
    key = header_key(key, source)
    ca_pem = read_secret(folder, model.ca, model=model.name, field="ca") if model.ca else None
    return Access(api_key=key or None, ca_pem=ca_pem)


@asynccontextmanager
async def open_session(model: Model, access: Access, *, timeout: float) -> AsyncIterator[aiohttp.ClientSession]:
    """Open the one HTTP session of a run: as many connections as the model's concurrency.

    Proxy variables of the environment are not obeyed (docs/architecture.md, Proxies).
    """
    ssl_context = tls_context(access.ca_pem) if model.endpoint.startswith("https:") else True
    connector = aiohttp.TCPConnector(limit=model.concurrency, ssl=ssl_context)
    headers = {"Authorization": f"Bearer {access.api_key}"} if access.api_key else {}
    async with aiohttp.ClientSession(
        connector=connector,
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, 10.0)),
    ) as session:
        yield session


async def wait_until_served(
    session: aiohttp.ClientSession, model: Model, *, wait: float, deadline: float, redactor: Redactor
) -> Served:
    """Wait, with back-off, until ``GET {endpoint}/models`` lists the model.

    Parameters
    ----------
    wait
        Seconds to keep trying; 0 tries once.
    deadline
        End of the whole run, in ``time.monotonic()`` seconds.

    Raises
    ------
    EndpointRefusedError
        The key is refused, the address redirects, or another model is served.
    EndpointError
        No usable answer in time.
    DeadlineError
        The run's deadline came first.
    """
    start = time.monotonic()
    attempt = 0
    while True:
        attempt += 1
        try:
            return await ask_served(session, model, redactor)
        except EndpointRefusedError as error:
            failure: VllmEvalError = error
            patience = min(wait, WRONG_MODEL_GRACE_SECONDS) if isinstance(error, WrongModelError) else 0.0
        except EndpointError as error:
            failure, patience = error, wait
        now = time.monotonic()
        pause = min(0.25 * 2 ** min(attempt, 6), 10.0) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
        if now + pause > deadline:
            raise DeadlineError(f"the deadline passed while waiting for the endpoint: {failure}")
        if now - start + pause > patience:
            raise failure
        log.warning("not ready, asking again in %.1f s: %s", pause, failure)
        await asyncio.sleep(pause)


class WrongModelError(EndpointRefusedError):
    """The endpoint serves, but not the model asked for."""


async def ask_served(session: aiohttp.ClientSession, model: Model, redactor: Redactor) -> Served:
    """Ask once what is served; see :func:`wait_until_served` for the errors."""
    url = f"{model.endpoint}/models"
    try:
        async with session.get(
            url, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=30, sock_connect=10)
        ) as response:
            body = await response.content.read(MAX_LIST_BYTES)
            status, location = response.status, response.headers.get("Location")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise EndpointError(f"{url} cannot be reached: {redactor.text(describe(error))}{unused_proxies()}") from None
    if status in {401, 403}:
        raise EndpointRefusedError(
            f"{url} refuses the key (HTTP {status}); model {model.name!r} "
            + (f"uses the key {model.api_key!r} of the Secret" if model.api_key else "names no api_key")
        )
    if 300 <= status < 400:
        raise EndpointRefusedError(f"{url} redirects to {location}; set the model's endpoint to where it leads")
    entries = _entries(body) if status == 200 else None
    if entries is None and not urlsplit(model.endpoint).path.endswith("/v1"):
        await _refuse_missing_v1(session, model)
    if status != 200:
        raise EndpointError(f"{url} answers HTTP {status}: {excerpt(body, redactor)}")
    if entries is None:
        raise EndpointError(f"{url} does not answer with a list of models: {excerpt(body, redactor)}")
    return _find_served(url, entries, model)


async def _refuse_missing_v1(session: aiohttp.ClientSession, model: Model) -> None:
    """Look whether the list of models is where it would be with ``/v1``.

    Raises
    ------
    EndpointRefusedError
        It is: a retry cannot help, another endpoint does.
    """
    endpoint = f"{model.endpoint}/v1"
    try:
        async with session.get(
            f"{endpoint}/models", allow_redirects=False, timeout=aiohttp.ClientTimeout(total=10, sock_connect=10)
        ) as response:
            found = response.status == 200 and _entries(await response.content.read(MAX_LIST_BYTES)) is not None
    except (aiohttp.ClientError, TimeoutError, OSError):
        return
    if found:
        raise EndpointRefusedError(
            f"{model.endpoint}/models is no list of models, but {endpoint}/models is; "
            f"set the model's endpoint to {endpoint}"
        )


def unused_proxies() -> str:
    """Name the proxy variables that are set but were not used for a failed connection; empty without any."""
    names = [name for name in PROXY_VARIABLES if os.environ.get(name)]
    return f" ({', '.join(names)} of the environment: the runner asks without a proxy)" if names else ""


def _entries(body: bytes) -> dict[str, dict[str, Any]] | None:
    """Read the list of models by id; None if it is none."""
    try:
        entries = json.loads(body)["data"]
        return {str(entry["id"]): entry for entry in entries if isinstance(entry, dict)}
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _find_served(url: str, entries: Mapping[str, Mapping[str, Any]], model: Model) -> Served:
    if model.asked_name not in entries:
        raise WrongModelError(
            f"{url} serves {', '.join(sorted(entries)) or 'no model'}, not {model.asked_name!r}; "
            "set the model's served_name to what is served, or its endpoint to where it is served"
        )
    entry = entries[model.asked_name]
    (root, parent), length = _weights(entry), entry.get("max_model_len")
    # A server that names no root says nothing about which of its names are one model.
    same = [name for name, other in entries.items() if root and _weights(other) == (root, parent)]
    aliases = frozenset({model.asked_name, *same})
    return Served(
        id=model.asked_name,
        root=root,
        parent=parent,
        max_model_len=length if isinstance(length, int) else None,
        aliases=aliases,
        others=frozenset(entries) - aliases,
    )


def _weights(entry: Mapping[str, Any]) -> tuple[str | None, str | None]:
    root, parent = entry.get("root"), entry.get("parent")
    return root if isinstance(root, str) else None, parent if isinstance(parent, str) else None


def describe(error: BaseException) -> str:
    """Say what went wrong on the network in a few words, with the class when the text is empty."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def excerpt(body: bytes, redactor: Redactor) -> str:
    """Show the start of a response body in one line."""
    # Redact before cutting: the redactor would not find half a key.
    text = redactor.text(" ".join(body[:4096].decode("utf-8", "replace").split()))
    return text[:300] or "(empty body)"
