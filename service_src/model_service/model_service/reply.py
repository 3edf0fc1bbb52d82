"""From a plan to its events: from the cache, from the same computation for another, or from the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from model_service import metrics
from model_service.answers import Answer, Header
from model_service.engine import Engine, Finished, GenerationRequest
from model_service.merge import Batch, Merge
from model_service.response_cache import ResponseCache
from model_service.single_flight import Flights, Work

CacheStatus = Literal["hit", "miss", "bypass"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compute, a request for each choice, and under which key the answer is kept; None if it is not to be.

    ``n`` choices in a row are of one prompt. ``prompt_field`` and ``grammar_field`` are the fields that the prompt
    and the grammar are made of, which errors name.
    """

    header: Header
    requests: tuple[GenerationRequest, ...]
    n: int
    key: str | None
    prompt_field: str
    grammar_field: str


class Reply:
    """A plan's answer. ``header`` and ``status`` hold from the first events on.

    Before that ``status`` is what is likely: an answer that is computed for another will be a hit.
    """

    def __init__(
        self, plan: Plan, engine: Engine, cache: ResponseCache | None, flights: Flights | None, model_name: str
    ) -> None:
        self.plan = plan
        self.header = plan.header
        self.status: CacheStatus = "miss"
        self._engine = engine
        self._cache = cache
        self._flights = flights
        self._model_name = model_name

    async def batches(self, pause_seconds: float | None = None) -> AsyncGenerator[Batch, None]:
        """All events of all choices, in batches of those that are there; an empty one for each pause without any."""
        if self._cache is None or self._flights is None or self.plan.key is None:
            self._is("bypass")
            source = self._computed(None, pause_seconds)
        else:
            source = self._shared(self.plan.key, self._cache.wait_seconds, self._flights, pause_seconds)
        async with aclosing(source):
            async for batch in source:
                yield batch

    async def whole(self) -> Answer:
        """The whole answer."""
        events: Batch = []
        async with aclosing(self.batches()) as all_batches:
            async for batch in all_batches:
                events += batch
        return Answer(header=self.header, n=self.plan.n, events=events)

    async def _shared(
        self, key: str, wait_seconds: float, flights: Flights, pause_seconds: float | None
    ) -> AsyncGenerator[Batch, None]:
        """The events as they are computed, to the first who asks; to those who come meanwhile all at once at the end.

        So these see nothing of an answer that isn't completed.
        """
        flight = flights.find(key, self._priority)
        is_first = flight is None
        if flight is None:
            flight = flights.begin(Work(key, self._priority, partial(self._start, pause_seconds), self._answer))
        flight.join()
        try:
            self.status = "hit"
            if is_first:
                while not await _is_done(flight.begun, pause_seconds):
                    yield []
                computation = flight.begun.result()
                if computation is not None:
                    self._is("miss")
                    async with aclosing(self._read(computation, partial(_is_done, flight.outcome))) as events:
                        async for batch in events:
                            yield batch
                    return
            loop = asyncio.get_running_loop()
            give_up = loop.time() + wait_seconds
            while (left := give_up - loop.time()) > 0:
                if await _is_done(flight.outcome, left if pause_seconds is None else min(left, pause_seconds)):
                    break
                yield []
            answer = flight.outcome.result() if flight.outcome.done() else None
        finally:
            await flight.leave()
        if answer is not None:
            self.header = answer.header
            self._is("hit" if flight.was_kept else "coalesced")
            yield answer.events
            return
        self._is("miss" if flight.has_cache else "error")
        source = self._computed(key if flight.has_cache else None, pause_seconds)
        async with aclosing(source):
            async for batch in source:
                yield batch

    async def _computed(self, key: str | None, pause_seconds: float | None) -> AsyncGenerator[Batch, None]:
        """Computed for this one alone, and kept under the key, if there is one."""
        record: Batch | None = [] if key is not None else None
        computation = self._start(pause_seconds, record)

        async def keep() -> None:
            if self._cache is not None and key is not None and record is not None:
                await self._cache.put(key, self._answer(record))

        try:
            async with aclosing(self._read(computation, keep)) as events:
                async for batch in events:
                    yield batch
        finally:
            await computation.close()

    async def _read(self, merge: Merge, before_end: Callable[[], Awaitable[object]]) -> AsyncGenerator[Batch, None]:
        """All batches; the client has the end only once the answer is kept: whoever asks the same then finds it."""
        left = len(self.plan.requests)
        while (batch := await merge.next()) is not None:
            left -= sum(isinstance(event, Finished) for _, event in batch)
            if batch and left == 0:
                await before_end()
            yield batch

    def _start(self, pause_seconds: float | None, record: Batch | None) -> Merge:
        sources = [metrics.measured(self._engine.submit(request), self._model_name) for request in self.plan.requests]
        return Merge(sources, pause_seconds, record)

    def _answer(self, events: Batch) -> Answer:
        return Answer(header=self.plan.header, n=self.plan.n, events=events)

    @property
    def _priority(self) -> Literal["interactive", "batch"]:
        return self.plan.requests[0].priority

    def _is(self, result: Literal["hit", "coalesced", "miss", "bypass", "error"]) -> None:
        """Counts where the answer comes from."""
        metrics.CACHE.labels(self._model_name, result).inc()
        match result:
            case "coalesced":
                self.status = "hit"
            case "error":
                self.status = "bypass"
            case _:
                self.status = result


async def _is_done(future: asyncio.Future[Any], within_seconds: float | None = None) -> bool:
    """Waits for the future, which goes on whatever happens to the one that waits."""
    await asyncio.wait({future}, timeout=within_seconds)
    return future.done()
