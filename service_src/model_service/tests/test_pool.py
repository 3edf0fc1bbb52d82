"""Models that share a budget of memory: loaded when asked for, unloaded when idle, never under a request."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

from model_service import pool as pool_module
from model_service.chat import Chat
from model_service.engine import (
    Delta,
    EngineStats,
    Event,
    Finished,
    GenerationRequest,
    InvalidRequestError,
    ModelFacts,
    NotReadyError,
    OverloadedError,
    Started,
)
from model_service.models import Entry, Models
from model_service.pool import LoadError, Member, ModelFailedError, ModelPool, NoRoomError, PoolLimits, State
from model_service.pooled_engine import AdaptedEngine, PooledEngine
from model_service.schemas import ModelCard

MIB = 1 << 20


class FakeEngine:
    """An engine that says its name, and notices when it is closed under a request."""

    def __init__(self, name: str) -> None:
        self.facts = ModelFacts(f"digest-{name}", 64, "template", "<s>", "</s>", ("poet",))
        self.running = 0
        self.closed = False

    def stats(self) -> EngineStats:
        return EngineStats(slots=2, running=self.running, waiting=0, kv_usage=0.5)

    async def submit(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        self.running += 1
        try:
            yield Started(1, 0, 0.0)
            for word in str(request.prompt).split():
                await asyncio.sleep(0.001)
                assert not self.closed, "closed under a request"
                yield Delta(f"{request.adapter}:{word}")
            yield Finished("stop", 1, 0, 0.1, 1, 0.1)
        finally:
            self.running -= 1

    async def detokenize(self, tokens: Any) -> str:
        return "text"

    async def close(self) -> None:
        assert self.running == 0
        self.closed = True
        await asyncio.sleep(0.005)


class FakeSource:
    def __init__(self, name: str, mib: int, *, real_mib: int | None = None, error: str | None = None) -> None:
        self.name = name
        self.estimated_bytes = mib * MIB
        self.real_bytes = (real_mib or mib) * MIB
        self.error = error
        self.loads = 0
        self.seconds = 0.005
        self.engine: FakeEngine | None = None

    async def measure(self) -> int:
        if self.error:
            raise LoadError(self.error)
        return self.real_bytes

    async def load(self) -> Any:
        self.loads += 1
        await asyncio.sleep(self.seconds)
        self.engine = FakeEngine(self.name)
        return self.engine


@asynccontextmanager
async def pool_of(
    *sources: FakeSource, budget: int | None, room_seconds: float = 5, queue_limit: int = 64
) -> AsyncGenerator[tuple[ModelPool, list[Member]], None]:
    pool = ModelPool(PoolLimits(None if budget is None else budget * MIB, room_seconds, 5, queue_limit))
    members = [pool.add(source) for source in sources]
    try:
        yield pool, members
    finally:
        await pool.close()


def states(members: list[Member]) -> str:
    return " ".join(member.state.value for member in members)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_without_a_budget_all_are_loaded_and_stay() -> None:
    async with pool_of(FakeSource("a", 1000), FakeSource("b", 1000), budget=None) as (pool, members):
        await pool.load_first()
        assert states(members) == "loaded loaded"


async def test_at_start_those_are_loaded_that_fit_side_by_side() -> None:
    sources = [FakeSource("a", 40), FakeSource("b", 70), FakeSource("c", 50)]
    async with pool_of(*sources, budget=100) as (pool, members):
        await pool.load_first()
        assert states(members) == "loaded unloaded loaded"


async def test_many_that_ask_at_once_load_it_once() -> None:
    source = FakeSource("a", 1)

    async def use() -> None:
        async with pool.use(members[0]):
            await asyncio.sleep(0)

    async with pool_of(source, budget=10) as (pool, members):
        await asyncio.gather(*(use() for _ in range(50)))
        assert source.loads == 1


async def test_the_least_recently_used_is_unloaded() -> None:
    sources = [FakeSource(name, 40) for name in "abc"]
    async with pool_of(*sources, budget=100) as (pool, members):
        await pool.load_first()
        for member in (members[1], members[0], members[2]):
            async with pool.use(member):
                pass
        assert states(members) == "loaded unloaded loaded"


async def test_one_in_use_is_not_unloaded_and_the_wait_for_it_is_bounded() -> None:
    async with pool_of(FakeSource("a", 60), FakeSource("b", 60), budget=100, room_seconds=0.2) as (pool, members):
        async with pool.use(members[0]):
            with pytest.raises(NoRoomError, match="no room in memory for the model 'b': 'a'") as caught:
                async with pool.use(members[1]):
                    pass
            assert caught.value.retry_after >= 1
            assert states(members) == "loaded unloaded"
        async with pool.use(members[1]):
            assert states(members) == "unloaded loaded"


async def test_one_that_is_left_while_another_waits_makes_room() -> None:
    async with (
        pool_of(FakeSource("a", 60), FakeSource("b", 60), budget=100) as (pool, members),
        AsyncExitStack() as stack,
    ):
        await stack.enter_async_context(pool.use(members[0]))
        waiting = asyncio.create_task(stack.enter_async_context(pool.use(members[1])))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        await stack.pop_all().aclose()
        await waiting
        assert states(members) == "unloaded loaded"


async def test_a_model_in_constant_use_gives_way_in_the_end() -> None:
    async with pool_of(FakeSource("a", 60), FakeSource("b", 60), budget=100, room_seconds=0.4) as (pool, members):
        stopped = asyncio.Event()

        async def use_a() -> None:
            while not stopped.is_set():
                async with pool.use(members[0]):
                    await asyncio.sleep(0.01)

        busy = [asyncio.create_task(use_a()) for _ in range(4)]
        await until(lambda: members[0].users > 0)
        async with pool.use(members[1]):
            assert members[0].users == 0
            stopped.set()
        await asyncio.gather(*busy)  # their turn came again
        assert members[0].state is State.LOADED


async def test_one_that_gives_up_waiting_holds_nobody_up() -> None:
    async with (
        pool_of(FakeSource("a", 60), FakeSource("b", 60), budget=100, room_seconds=0.2) as (pool, members),
        AsyncExitStack() as stack,
    ):
        await stack.enter_async_context(pool.use(members[0]))
        with pytest.raises(NoRoomError):
            await stack.enter_async_context(pool.use(members[1]))
        async with asyncio.timeout(0.05), pool.use(members[0]):
            pass


async def test_who_waits_longest_comes_first() -> None:
    sources = [FakeSource("a", 100), FakeSource("b", 100), FakeSource("c", 10)]
    order = []

    async def use(member: Member) -> None:
        async with pool.use(member):
            order.append(member.name)

    async with pool_of(*sources, budget=100) as (pool, members):
        async with pool.use(members[0]):
            tasks = [asyncio.create_task(use(members[1]))]
            await asyncio.sleep(0.01)
            tasks.append(asyncio.create_task(use(members[2])))
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)
    assert order == ["b", "c"]


async def test_one_that_takes_more_than_was_thought_gets_more_room() -> None:
    sources = [FakeSource("a", 40), FakeSource("b", 40, real_mib=80)]
    async with pool_of(*sources, budget=100) as (pool, members):
        async with pool.use(members[0]):
            pass
        async with pool.use(members[1]):
            assert states(members) == "unloaded loaded"
        assert members[1].bytes == 80 * MIB


async def test_one_that_never_fits_says_so() -> None:
    async with pool_of(FakeSource("a", 200), FakeSource("b", 10), budget=100) as (pool, members):
        await pool.load_first()
        assert states(members) == "failed loaded"
        with pytest.raises(ModelFailedError, match="takes 200 MiB of memory, and MODEL_MEMORY_BUDGET_MIB is 100"):
            async with pool.use(members[0]):
                pass


async def test_a_failure_is_told_and_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    source = FakeSource("a", 10, error="cannot load a.gguf: its weights are damaged")
    async with pool_of(source, FakeSource("b", 10), budget=None) as (pool, members):
        await pool.load_first()
        assert states(members) == "failed loaded"
        with pytest.raises(ModelFailedError, match=r"'a' can't be served: cannot load a\.gguf"):
            async with pool.use(members[0]):
                pass
        source.error = None
        monkeypatch.setattr(pool_module, "RETRY_SECONDS", 0)
        async with pool.use(members[0]):
            assert states(members) == "loaded loaded"
        assert not members[0].failure


async def test_not_more_than_the_queue_wait_for_a_model() -> None:
    source = FakeSource("a", 10)
    source.seconds = 0.1
    async with pool_of(source, budget=None, queue_limit=1) as (pool, members):
        waiting = [asyncio.create_task(anext(aiter_of(pool, members[0]))) for _ in range(2)]
        await until(lambda: members[0].waiting == 2)
        with pytest.raises(OverloadedError, match="2 requests wait for a") as caught:
            async with pool.use(members[0]):
                pass
        assert caught.value.reason == "queue_full"
        await asyncio.gather(*waiting)


async def test_who_is_refused_before_a_model_is_loaded_is_counted() -> None:
    source = FakeSource("crowded", 10)
    source.seconds = 0.1
    async with pool_of(source, budget=None, queue_limit=0) as (pool, members):
        engine = PooledEngine(pool, members[0], slots=2)
        models = Models()
        models.add(Entry(ModelCard(id="crowded", created=0), engine, cast(Chat, None)))
        first = asyncio.create_task(models.engine("crowded"))
        await until(lambda: members[0].waiting == 1)
        with pytest.raises(OverloadedError):
            await models.engine("crowded")
        assert await first is engine
    labels = {"model_name": "crowded", "reason": "queue_full"}
    assert REGISTRY.get_sample_value("llm_requests_rejected_total", labels) == 1


async def aiter_of(pool: ModelPool, member: Member) -> AsyncGenerator[None, None]:
    async with pool.use(member):
        yield


async def test_random_use_never_goes_over_the_budget_or_under_a_request() -> None:
    chance = random.Random(3)
    sources = [FakeSource(f"m{number}", chance.choice((20, 30, 50))) for number in range(6)]

    async def ask(engine: PooledEngine, leave_early: bool) -> None:
        async with aclosing(engine.submit(GenerationRequest("one two three"))) as events:
            async for event in events:
                held = sum(member.bytes for member in members if member.holds_memory)
                assert held <= 100 * MIB
                if leave_early and isinstance(event, Delta):
                    return

    async with pool_of(*sources, budget=100, queue_limit=1000, room_seconds=20) as (pool, members):
        engines = [PooledEngine(pool, member, 2) for member in members]
        await asyncio.gather(*(ask(chance.choice(engines), chance.random() < 0.3) for _ in range(300)))
        assert all(member.users == member.waiting == 0 for member in members)
        assert not any(member.yields for member in members)
    assert sum(source.loads for source in sources) > len(sources)


async def test_what_is_known_of_a_model_stays_known_when_it_is_unloaded() -> None:
    async with pool_of(FakeSource("a", 60), FakeSource("b", 60), budget=100) as (pool, members):
        first, second = (
            PooledEngine(pool, member, 2, template) for member, template in zip(members, ("own", None), strict=True)
        )
        with pytest.raises(NotReadyError):
            _ = first.facts
        await first.known()
        await second.known()
        assert states(members) == "unloaded loaded"
        assert (first.facts.digest, first.facts.chat_template) == ("digest-a", "own")
        assert second.facts.chat_template == "template"
        assert first.stats() == EngineStats(slots=2, running=0, waiting=0, kv_usage=0.0)
        assert await first.detokenize([1]) == "text"
        assert states(members) == "loaded unloaded"


async def test_an_adapter_is_asked_for_by_its_own_engine() -> None:
    async with pool_of(FakeSource("a", 60), budget=None) as (pool, members):
        engine = PooledEngine(pool, members[0], 2)
        adapted = AdaptedEngine(engine, "poet", "digest-of-poet")
        await adapted.known()
        async with aclosing(adapted.submit(GenerationRequest("hello"))) as events:
            texts = [event.text async for event in events if isinstance(event, Delta)]
        assert texts == ["poet:hello"]
        assert adapted.facts.digest != engine.facts.digest
        with pytest.raises(InvalidRequestError):
            await adapted.embed(["x"])


async def test_closing_ends_what_loads() -> None:
    source = FakeSource("a", 1)
    source.seconds = 60
    async with pool_of(source, budget=None) as (pool, members):
        task = asyncio.create_task(anext(aiter_of(pool, members[0])))
        await until(lambda: members[0].state is State.LOADING)
        task.cancel()
