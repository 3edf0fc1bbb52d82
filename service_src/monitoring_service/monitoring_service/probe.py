"""Asks the instances of a service how they are, each by its own address."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
from pydantic import ValidationError

from monitoring_service.targets import Target
from service_kit.health import Readiness

Resolve = Callable[[str, int], Awaitable[list[str]]]
RESOLVE_SECONDS = 2.0


@dataclass(frozen=True)
class Answer:
    """How one instance answered. ``latency`` is in seconds, None when it did not answer."""

    ready: bool
    draining: bool = False
    reason: str | None = None
    latency: float | None = None


def resolver(threads: int) -> Resolve:
    """Resolves host names in threads of its own.

    The system's resolver can hang for many seconds on the name of a service that does not run,
    and must not keep the other names waiting meanwhile.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="resolve")

    def lookup(host: str, port: int) -> list[str]:
        found = socket.getaddrinfo(host, port, family=socket.AF_INET, type=socket.SOCK_STREAM)
        return sorted({str(address[0]) for *_, address in found})

    async def resolve(host: str, port: int) -> list[str]:
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(pool, lookup, host, port)
        except (OSError, TimeoutError):
            return []

    return resolve


async def probe(client: httpx.AsyncClient, resolve: Resolve, target: Target, timeout: float) -> list[Answer] | None:
    """The answer of every instance of the target; an empty list when its name stands for none.

    None when the target can't be asked. ``timeout`` bounds one instance's answer, in seconds.
    """
    if target.address is None:
        return None
    host, port = target.address
    urls = [f"http://{address}:{port}{target.health_path}" for address in await resolve(host, port)]
    return list(await asyncio.gather(*(_ask(client, url, host, timeout) for url in urls)))


async def _ask(client: httpx.AsyncClient, url: str, host: str, timeout: float) -> Answer:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(timeout):
            response = await client.get(url, headers={"Host": host})
    except (TimeoutError, httpx.TimeoutException):
        return Answer(False, reason=f"{url} did not answer within {timeout:g} s")
    except httpx.HTTPError as error:
        return Answer(False, reason=f"{url} does not answer: {error or type(error).__name__}")
    latency = time.perf_counter() - started
    if response.status_code == httpx.codes.OK:
        return Answer(True, latency=latency)
    try:
        readiness = Readiness.model_validate_json(response.content)
    except ValidationError:
        return Answer(False, reason=f"{url} answered {response.status_code}", latency=latency)
    return Answer(False, readiness.draining, _why(readiness), latency)


def _why(readiness: Readiness) -> str:
    if readiness.draining:
        return "draining: it finishes its requests, then stops"
    failed = [f"{name}: {result}" for name, result in readiness.checks.items() if result != "ok"]
    return f"not ready: {'; '.join(failed) or 'it gives no reason'}"
