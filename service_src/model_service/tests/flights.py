"""Replicas that share a cache, and requests that are in flight together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
from cache_stub import CacheStub
from fake_engine import FakeEngine, app_of
from serving import serving
from support import ask, wait_until

from model_service.engine import EngineError, GenerationRequest
from model_service.response_cache import ResponseCache
from service_kit import http
from service_kit.metrics import REQUESTS_IN_FLIGHT

CHAT = "/v1/chat/completions"
TIMEOUT_SECONDS = 2.0  # of the cache: patient enough for a busy test machine


class Gate:
    """A script that stops in the middle until it is opened, then says the rest, or fails."""

    def __init__(self) -> None:
        self.is_open = False
        self.failure: EngineError | None = None

    def __call__(self, _request: GenerationRequest) -> Iterable[str | EngineError | float]:
        yield "Hel"
        while not self.is_open:
            yield 0.01
        # The first one alone fails.
        failure, self.failure = self.failure, None
        yield failure or "lo"


@dataclass
class Replicas:
    """Two applications over engines without a model, and one cache."""

    stub: CacheStub
    gate: Gate
    engines: list[FakeEngine]
    urls: list[str]
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(16))

    def post(self, replica: int = 0, key: str = "one", **fields: object) -> Future[httpx.Response]:
        body = ask(**{"temperature": 0, **fields})
        headers = {"Authorization": f"Bearer {key}"}
        return self.pool.submit(httpx.post, self.urls[replica] + CHAT, json=body, headers=headers, timeout=60)

    @property
    def computed(self) -> int:
        return sum(len(engine.asked) for engine in self.engines)

    def lead(self, **fields: object) -> Future[httpx.Response]:
        """The first of several, which the first replica computes."""
        before = len(self.engines[0].asked)
        first = self.post(**fields)
        wait_until(lambda: len(self.engines[0].asked) > before)
        return first

    def wait_for(self, in_flight: int) -> None:
        """Until so many requests are being answered, by both replicas together."""
        wait_until(lambda: REQUESTS_IN_FLIGHT._value.get() == in_flight)


@contextmanager
def replicas(wait_seconds: float = 60.0, keep_alive_seconds: float = 10.0) -> Iterator[Replicas]:
    gate = Gate()
    engines = [FakeEngine(gate), FakeEngine(gate)]
    with CacheStub() as stub:
        # One for each: a client belongs to the loop of the application that uses it.
        caches = [
            ResponseCache(http.client(stub.url, timeout=TIMEOUT_SECONDS), 60, TIMEOUT_SECONDS, wait_seconds)
            for _ in engines
        ]
        apps = [
            app_of(engine, cache, keep_alive_seconds, api_keys=("one", "two"))
            for engine, cache in zip(engines, caches, strict=True)
        ]
        with serving(apps[0]) as first, serving(apps[1]) as second:
            made = Replicas(stub, gate, engines, [first, second])
            try:
                yield made
            finally:
                gate.is_open = True
                made.pool.shutdown()


def bodies(answers: list[httpx.Response]) -> set[bytes]:
    """The different ones, less the keep-alives in them."""
    return {answer.content.replace(b": keep-alive\n\n", b"") for answer in answers}


def statuses(answers: list[httpx.Response]) -> list[str]:
    return sorted(answer.headers["X-Cache"] for answer in answers)
