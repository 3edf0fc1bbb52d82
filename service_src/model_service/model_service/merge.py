"""The events of several generators as one stream of batches, with a pause where nothing comes for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from model_service.engine import Event

# What is there at once: the place of the generator, and its event. Empty for a pause.
Batch = list[tuple[int, Event]]


async def batches(
    sources: Sequence[AsyncGenerator[Event, None]], pause_seconds: float | None = None
) -> AsyncGenerator[Batch, None]:
    """All events of all sources; the first error of any of them ends it. Closing it closes all sources at once."""
    merge = Merge(sources, pause_seconds)
    try:
        while (batch := await merge.next()) is not None:
            yield batch
    finally:
        await merge.close()


class Merge:
    """A task for each source puts its events here, and one reader takes all that are there: no task per token.

    It goes on whether it is read or not, until it is closed. ``record`` gets all events, read or not.
    """

    def __init__(
        self,
        sources: Sequence[AsyncGenerator[Event, None]],
        pause_seconds: float | None = None,
        record: Batch | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._running = len(sources)
        self._ready: Batch = []
        self._record = record
        self._failure: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._pause_seconds = pause_seconds
        self._quiet_since = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        if pause_seconds is not None:
            self._timer = self._loop.call_later(pause_seconds, self._tick)
        self._pumps = [asyncio.ensure_future(self._pump(index, source)) for index, source in enumerate(sources)]

    async def next(self) -> Batch | None:
        """What is ready as soon as something is, empty for a pause, None at the end; raises what a source raised."""
        if not self._ready and self._failure is None and self._running:
            self._waiter = self._loop.create_future()
            await self._waiter
        if self._ready:
            batch, self._ready = self._ready, []
            if self._timer is not None:
                self._quiet_since = self._loop.time()
            return batch
        if self._failure is not None:
            raise self._failure
        return [] if self._running else None

    async def ended(self) -> None:
        """Waits until all sources have ended, or one has failed; raises what it raised."""
        await asyncio.wait({self._ended})
        if self._failure is not None:
            raise self._failure

    async def close(self) -> None:
        """Closes all sources; what they gave before can still be read."""
        if self._timer is not None:
            self._timer.cancel()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.wait(self._pumps)

    async def _pump(self, index: int, source: AsyncGenerator[Event, None]) -> None:
        record = self._record
        try:
            async with aclosing(source):
                async for event in source:
                    self._ready.append((index, event))
                    if record is not None:
                        record.append((index, event))
                    if self._waiter is not None:
                        self._wake()
        except Exception as error:
            self._failure = self._failure or error
        finally:
            self._running -= 1
            if (self._failure is not None or not self._running) and not self._ended.done():
                self._ended.set_result(None)
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _tick(self) -> None:
        # One timer a stream, which looks when it last had something: a timer for each token would cost more.
        assert self._pause_seconds is not None
        now = self._loop.time()
        if now - self._quiet_since >= self._pause_seconds:
            self._quiet_since = now
            self._wake()
        self._timer = self._loop.call_later(self._quiet_since + self._pause_seconds - now, self._tick)
