"""Clients that leave at any moment leave nothing behind: MODEL_TEST_DISCONNECTS of them, 10,000 in `make soak`."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from contextlib import aclosing
from pathlib import Path

import pytest
from conftest import StartEngine
from scheduling import TIE
from support import settle

from model_service.engine import (
    Delta,
    Engine,
    EngineError,
    Finished,
    GenerationRequest,
    Logprobs,
    OverloadedError,
    Sampling,
    Started,
)

DISCONNECTS = int(os.environ.get("MODEL_TEST_DISCONNECTS") or "150")
AT_ONCE = 12  # fewer than slots and queue take: a refused one has nothing to leave behind
SLOTS = 4
# Beside the KV cache and the store, which have all they'll ever have once they are full.
MOST_GROWTH_BYTES = 48 << 20
SHARED = "You are a helpful assistant. " * 12
GRAMMAR = 'root ::= [a-z ]+ "."'


def request_of(chance: random.Random) -> GenerationRequest:
    prompt = chance.choice(
        [SHARED + f"Question {chance.randrange(5)}:", "word " * chance.randrange(5, 250), "One, two,"]
    )
    sampling = Sampling(
        temperature=chance.choice([0.0, 1.0]), ignore_eos=chance.random() < 0.3, seed=chance.randrange(100)
    )
    if chance.random() < 0.1:
        sampling = Sampling(temperature=0, grammar=GRAMMAR)
    return GenerationRequest(
        prompt,
        sampling,
        max_tokens=chance.choice([1, 5, 40]),
        stop=("zebra",) if chance.random() < 0.2 else (),
        top_logprobs=chance.choice([None, None, 3]),
        tenant=chance.choice(["", "", "other"]),
        priority=chance.choice(["interactive", "interactive", "batch"]),
    )


async def leave(engine: Engine, chance: random.Random) -> str:
    """Begins a request and leaves it; says when: in the queue, waiting for its first token, while it answers."""
    moment = "queue"
    after_events = chance.choice([None, 1, 1, 2, 5, 100])
    after_seconds = chance.choice([0.0, 0.001, 0.02, 0.1, 0.4, 1.5])

    async def consume() -> None:
        nonlocal moment
        count = 0
        async with aclosing(engine.submit(request_of(chance))) as events:
            async for event in events:
                count += 1
                moment = {Started: "prompt", Delta: "answer", Finished: "end"}[type(event)]
                if count == after_events:
                    return

    try:
        if after_events is not None and chance.random() < 0.5:
            await consume()
        else:
            await asyncio.wait_for(consume(), after_seconds)
    except TimeoutError:
        pass
    except OverloadedError:
        moment = "refused"
    except EngineError as error:
        moment = type(error).__name__
    return moment


@pytest.mark.parametrize("kv_tokens", [768, SLOTS * 384], ids=["unified", "split"])
async def test_random_disconnects_leave_nothing_behind(start_engine: StartEngine, kv_tokens: int) -> None:
    chance = random.Random(20)
    moments: Counter[str] = Counter()
    sizes: list[int] = []
    async with start_engine(
        slots=SLOTS, context=384, kv_tokens=kv_tokens, step_tokens=64, queue_limit=12, prefix_store_bytes=16 << 20
    ) as engine:
        expected = await answer_of(engine)
        left = DISCONNECTS

        async def client() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                moments[await leave(engine, chance)] += 1
                if left % 50 == 0:
                    sizes.append(resident_bytes())

        await asyncio.gather(*(client() for _ in range(AT_ONCE)))
        await settle(lambda: engine.stats().running == engine.stats().waiting == 0 and engine.stats().kv_usage == 0)
        stats = engine.stats()
        assert [slot.state for slot in engine.slots()] == ["idle"] * SLOTS
        assert stats.failed == stats.contexts_lost == 0
        assert stats.prefix_store_bytes <= 16 << 20
        assert moments.keys() <= {"queue", "prompt", "answer", "end", "refused"}
        assert moments.keys() >= {"queue", "prompt", "answer"}
        # All slots can be used at once, and nothing of what was left is in an answer.
        for answer in await asyncio.gather(*(answer_of(engine) for _ in range(SLOTS))):
            assert_same_save_a_tie(expected, answer)
        await settle(lambda: engine.stats().kv_usage == 0)
    half = sizes[len(sizes) // 2]
    assert sizes[-1] - half < MOST_GROWTH_BYTES


async def answer_of(engine: Engine) -> list[Logprobs]:
    """The likeliest tokens at each place of a greedy answer."""
    request = GenerationRequest("One, two, three, four, five,", Sampling(temperature=0), 12, top_logprobs=5)
    async with aclosing(engine.submit(request)) as events:
        return [event.logprobs async for event in events if isinstance(event, Delta) and event.logprobs]


def assert_same_save_a_tie(one: list[Logprobs], other: list[Logprobs]) -> None:
    """What is known of a prompt may have been computed in a batch of another size."""
    assert len(one) == len(other)
    for here, there in zip(one, other, strict=True):
        if here.chosen.token != there.chosen.token:
            (logprob,) = [token.logprob for token in here.top if token.token == there.chosen.token]
            assert here.chosen.logprob - logprob < TIE
            return
        assert abs(here.chosen.logprob - there.chosen.logprob) < TIE


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
