"""Events of several sources, in batches of what is there, ended together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from model_service.engine import Delta, Event, GenerationFailedError
from model_service.merge import Batch, batches


class Source:
    """Yields what is put into it, until None; an exception is raised."""

    def __init__(self) -> None:
        self.items: asyncio.Queue[str | Exception | None] = asyncio.Queue()
        self.is_closed = False

    async def events(self) -> AsyncGenerator[Event, None]:
        try:
            while (item := await self.items.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield Delta(item)
        finally:
            self.is_closed = True


def texts(batch: Batch) -> list[tuple[int, str]]:
    return [(index, event.text) for index, event in batch if isinstance(event, Delta)]


async def test_what_is_ready_at_once_is_one_batch() -> None:
    one, other = Source(), Source()
    for text in "ab":
        one.items.put_nowait(text)
        other.items.put_nowait(text)
    async with aclosing(batches([one.events(), other.events()])) as merged:
        assert texts(await anext(merged)) == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]
        other.items.put_nowait("c")
        assert texts(await anext(merged)) == [(1, "c")]
        one.items.put_nowait(None)
        other.items.put_nowait(None)
        with pytest.raises(StopAsyncIteration):
            await anext(merged)


async def test_an_error_comes_after_what_was_before_it_and_closes_all() -> None:
    one, other = Source(), Source()
    one.items.put_nowait("a")
    one.items.put_nowait(GenerationFailedError("broken"))
    merged = batches([one.events(), other.events()])
    assert texts(await anext(merged)) == [(0, "a")]
    with pytest.raises(GenerationFailedError, match="broken"):
        await anext(merged)
    assert one.is_closed
    assert other.is_closed


async def test_leaving_closes_all_sources() -> None:
    sources = [Source() for _ in range(5)]
    sources[0].items.put_nowait("a")
    async with aclosing(batches([source.events() for source in sources], pause_seconds=60)) as merged:
        await anext(merged)
    assert all(source.is_closed for source in sources)


async def test_a_cancelled_reader_closes_all_sources() -> None:
    sources = [Source() for _ in range(5)]

    async def read() -> None:
        async with aclosing(batches([source.events() for source in sources])) as merged:
            await anext(merged)

    reader = asyncio.create_task(read())
    await asyncio.sleep(0.05)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert all(source.is_closed for source in sources)


async def test_silence_makes_a_pause_counted_from_the_last_event() -> None:
    source = Source()
    async with aclosing(batches([source.events()], pause_seconds=0.2)) as merged:
        loop = asyncio.get_running_loop()
        loop.call_later(0.15, source.items.put_nowait, "a")
        started = loop.time()
        assert texts(await anext(merged)) == [(0, "a")]
        assert await anext(merged) == []
        assert 0.34 < loop.time() - started < 0.5
        assert await anext(merged) == []


async def test_there_is_no_task_per_event() -> None:
    source = Source()
    for _ in range(1000):
        source.items.put_nowait("x")
    source.items.put_nowait(None)
    made = 0
    loop = asyncio.get_running_loop()

    def count(loop: asyncio.AbstractEventLoop, work: object, **options: object) -> asyncio.Task[object]:
        nonlocal made
        made += 1
        return asyncio.Task(work, loop=loop, **options)  # type: ignore[arg-type]

    loop.set_task_factory(count)  # type: ignore[arg-type]
    async with aclosing(batches([source.events()], pause_seconds=1)) as merged:
        assert sum([len(batch) async for batch in merged]) == 1000
    assert made == 1
