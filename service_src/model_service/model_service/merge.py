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
    merge = _Merge(len(sources), pause_seconds)
    pumps = [asyncio.ensure_future(merge.pump(index, source)) for index, source in enumerate(sources)]
    try:
        while True:
            batch = await merge.next()
            if batch is None:
                return
            yield batch
    finally:
        merge.close()
        for pump in pumps:
            pump.cancel()
        await asyncio.wait(pumps)


class _Merge:
    """A task for each source puts its events here, and one reader takes all that are there: no task per token."""

    def __init__(self, running: int, pause_seconds: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._running = running
        self._ready: Batch = []
        self._failure: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._pause_seconds = pause_seconds
        self._quiet_since = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        if pause_seconds is not None:
            self._timer = self._loop.call_later(pause_seconds, self._tick)

    async def pump(self, index: int, source: AsyncGenerator[Event, None]) -> None:
        ready = self._ready
        try:
            async with aclosing(source):
                async for event in source:
                    ready = self._ready
                    ready.append((index, event))
                    if self._waiter is not None:
                        self._wake()
        except Exception as error:
            self._failure = self._failure or error
        finally:
            self._running -= 1
            self._wake()

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

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

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
