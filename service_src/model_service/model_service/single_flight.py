"""One look-up and one computation for all that ask for the same at the same time, by a lease also across replicas."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from model_service.answers import Answer
from model_service.engine import EngineError, Priority
from model_service.merge import Batch, Merge
from model_service.response_cache import CacheUnavailableError, LeaseState, ResponseCache

log = logging.getLogger(__name__)

# How long a replica that dies holds others up; it asks for more time three times as often.
LEASE_SECONDS = 5.0
# Nobody waits for a lease to be prolonged or released, so that may take longer than what somebody waits for.
_PATIENCE_SECONDS = 1.0
# How long one request waits in cache-service. A cache-service that freezes meanwhile is noticed only after that.
_LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Work:
    """What to compute: ``start`` begins it and has all events recorded, ``answer`` is made of them."""

    key: str
    priority: Priority
    start: Callable[[Batch], Merge]
    answer: Callable[[Batch], Answer]


class Flight:
    """How one answer is come by, which goes on as long as one of those that asked for it is there."""

    def __init__(self, cache: ResponseCache, work: Work, on_end: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        # The computation for the one that began the flight to read; None where nothing is computed here.
        self.begun: asyncio.Future[Merge | None] = loop.create_future()
        # The complete answer, which is also kept by then. None if there is none: everybody computes for themselves,
        # as with no flight at all, and gets an error of their own.
        self.outcome: asyncio.Future[Answer | None] = loop.create_future()
        self.was_kept = False  # found at the first look
        self.has_cache = True
        self._cache = cache
        self._work = work
        self._on_end = on_end
        self._owner = uuid.uuid4().hex
        self._may_have_lease = False
        self._riders = 0
        self._task = loop.create_task(self._fly())

    def join(self) -> None:
        self._riders += 1

    async def leave(self) -> None:
        """The last one to leave before there is an answer ends the computation."""
        self._riders -= 1
        if self._riders == 0 and not self.outcome.done():
            self._task.cancel()
            # Nobody may join what is about to end.
            self._settle(None)
            await asyncio.wait({self._task})

    async def _fly(self) -> None:
        answer = None
        try:
            answer = await self._from_cache()
            if answer is None and self.has_cache:
                async with self._prolonging():
                    answer = await self._compute()
        except EngineError:
            pass  # whoever reads the computation gets it
        except Exception:
            log.exception("a shared computation failed")
        finally:
            self._settle(answer)
            if self._may_have_lease:
                until = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
                await self._cache.release(self._work.key, self._owner, until)

    async def _from_cache(self) -> Answer | None:
        """The answer that is kept, or is computed by another replica meanwhile; None if it is to be computed here."""
        until = self._cache.deadline()  # for the first look and the first question for the lease together
        try:
            answer = await self._cache.get(self._work.key)
            self.was_kept = answer is not None
        except CacheUnavailableError:
            self.has_cache = False
            return None
        if answer is not None or self._work.priority == "batch":
            # A batch's may have to wait for everyone here, and must not make anyone elsewhere wait as well.
            return answer
        try:
            return await self._from_another_replica(until)
        except CacheUnavailableError:
            return None

    async def _from_another_replica(self, until: float) -> Answer | None:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._cache.wait_seconds
        state = await self._acquire(until)
        while state is LeaseState.HELD and loop.time() < give_up:
            answer = await self._cache.get(self._work.key, _LOOK_SECONDS)
            if answer is not None:
                return answer
            state = await self._acquire()
        return await self._cache.get(self._work.key) if state is LeaseState.STORED else None

    async def _acquire(self, until: float | None = None) -> LeaseState:
        # Also where no answer comes in time, cache-service may have granted it.
        self._may_have_lease = True
        state = await self._cache.acquire(self._work.key, self._owner, LEASE_SECONDS, until)
        self._may_have_lease = state is LeaseState.GRANTED
        return state

    @contextlib.asynccontextmanager
    async def _prolonging(self) -> AsyncGenerator[None, None]:
        task = asyncio.create_task(self._prolong()) if self._may_have_lease else None
        try:
            yield
        finally:
            if task is not None:
                task.cancel()
                await asyncio.wait({task})

    async def _prolong(self) -> None:
        while self._may_have_lease:
            await asyncio.sleep(LEASE_SECONDS / 3)
            with contextlib.suppress(CacheUnavailableError):  # the lease lasts for another try
                await self._acquire(asyncio.get_running_loop().time() + _PATIENCE_SECONDS)

    async def _compute(self) -> Answer:
        record: Batch = []
        merge = self._work.start(record)
        self.begun.set_result(merge)
        try:
            await merge.ended()
            answer = self._work.answer(record)
            if await self._cache.put(self._work.key, answer):
                self._may_have_lease = False
            return answer
        finally:
            await merge.close()

    def _settle(self, answer: Answer | None) -> None:
        if not self.outcome.done():
            self._on_end()
            self.outcome.set_result(answer)
        if not self.begun.done():
            self.begun.set_result(None)


class Flights:
    """Those of one model."""

    def __init__(self, cache: ResponseCache) -> None:
        self._cache = cache
        self._flights: dict[tuple[str, Priority], Flight] = {}

    def find(self, key: str, priority: Priority) -> Flight | None:
        """One that a request of this priority may join: nothing waits for what itself may have to wait for it."""
        flight = self._flights.get((key, "interactive"))
        return flight or self._flights.get((key, priority))

    def begin(self, work: Work) -> Flight:
        place = (work.key, work.priority)
        self._flights[place] = Flight(self._cache, work, lambda: self._end(place))
        return self._flights[place]

    def _end(self, place: tuple[str, Priority]) -> None:
        del self._flights[place]
