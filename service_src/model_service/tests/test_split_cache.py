"""Room of its own for each slot: what is copied goes on as the original would, and batches have no gaps."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy
import pytest
from scheduling import SIZE, Bench, FaultyContext, assert_same_save_ties, words

from model_service.engine import Finished, Sampling
from model_service.llama.kv_cache import SplitCache
from model_service.llama.model import Model
from model_service.llama.prefix_store import BLOCK_TOKENS
from model_service.llama.sampler import Logits

STORY = "Once upon a time there was a small box made of {}. It stood on a shelf in the kitchen of an old house, and"
NAMES = ("gold", "silver", "iron", "copper", "lead", "tin", "wood", "glass", "stone", "paper", "clay", "wax")
ENDLESS = Sampling(temperature=0, ignore_eos=True)
# What a copy's logits may differ by: llama.cpp computes slots of one batch by other instructions than one alone.
CLOSE = 0.3


@pytest.fixture
def context(model: Model) -> Iterator[FaultyContext]:
    context = FaultyContext(model, SIZE)
    yield context
    context.close()


@pytest.fixture
def cache(context: FaultyContext) -> SplitCache:
    assert isinstance(context.cache, SplitCache)
    return context.cache


@pytest.fixture(scope="module")
def story(model: Model) -> list[int]:
    return [int(token) for token in model.tokenize(STORY.format("gold") * 2, 256)]


def logits_after(context: FaultyContext, slot: int, position: int, tokens: list[int]) -> Logits:
    context.clear_batch()
    index = context.add(slot, position, tokens, wants_logits=True)
    assert context.decode() == 0
    return context.logits(index).copy()


def test_a_room_that_each_slot_has_anyway_is_split(model: Model) -> None:
    with Bench(model, slots=2, context=256, kv_tokens=512) as bench:
        assert bench.context.cache.is_split
    with Bench(model, slots=2, context=256, kv_tokens=511) as bench:
        assert not bench.context.cache.is_split


def test_each_slot_takes_the_longest_request_whatever_the_others_have(model: Model) -> None:
    with Bench(model, slots=3, context=256, kv_tokens=768) as bench:
        longest = [bench.sequence(list(range(first, first + 254)), 1) for first in (100, 1000, 2000)]
        bench.add(*longest)
        bench.step()
        assert len(bench.scheduler.running) == 3
        bench.run()
        assert [bench.ends(each) for each in longest] == [[Finished]] * 3
        assert bench.scheduler.counters.paused == 0
        bench.assert_empty()


def test_a_shared_beginning_goes_on_as_the_original(
    context: FaultyContext, cache: SplitCache, story: list[int]
) -> None:
    *before, last = story
    expected = logits_after(context, 2, 0, story)
    cache.share(2, 0, len(before))
    assert context.lengths == [len(before), 0, len(story), 0]
    assert numpy.abs(logits_after(context, 0, len(before), [last]) - expected).max() < CLOSE


def test_slots_swap_what_they_hold_also_with_one_that_holds_nothing(
    context: FaultyContext, cache: SplitCache, story: list[int]
) -> None:
    *before, last = story
    expected = logits_after(context, 0, 0, story)
    cache.clear(0)
    logits_after(context, 0, 0, before)
    logits_after(context, 1, 0, before[::-1][:20])
    cache.exchange(0, 1)
    assert context.lengths == [20, len(before), 0, 0]
    cache.exchange(1, 3)
    assert context.lengths == [20, 0, 0, len(before)]
    assert numpy.abs(logits_after(context, 3, len(before), [last]) - expected).max() < CLOSE


def test_saved_blocks_go_on_as_the_original(context: FaultyContext, cache: SplitCache, story: list[int]) -> None:
    expected = logits_after(context, 1, 0, story)
    starts = range(0, len(story) - BLOCK_TOKENS, BLOCK_TOKENS)
    blocks = list(cache.save(1, starts, BLOCK_TOKENS))
    assert len(blocks) == len(starts) > 1
    assert cache.restore(2, blocks) == len(blocks)
    length = len(blocks) * BLOCK_TOKENS
    assert context.lengths == [0, len(story), length, 0]
    assert numpy.abs(logits_after(context, 2, length, story[length:]) - expected).max() < CLOSE


def test_blocks_of_a_lost_context_are_of_use_again_once_something_was_saved(
    model: Model, cache: SplitCache, context: FaultyContext, story: list[int]
) -> None:
    logits_after(context, 0, 0, story)
    blocks = list(cache.save(0, [0], BLOCK_TOKENS))
    other = FaultyContext(model, SIZE)
    assert other.cache.restore(0, blocks) == 0
    logits_after(other, 1, 0, story)
    list(other.cache.save(1, [0], BLOCK_TOKENS))
    assert other.cache.restore(0, blocks) == 1
    other.close()


def test_requests_that_come_and_go_never_leave_a_gap_in_a_batch_and_say_what_they_would_alone(model: Model) -> None:
    chance = random.Random(1)
    with Bench(model, slots=6, context=128, kv_tokens=768) as bench:
        requests = [
            bench.sequence(STORY.format(name), chance.randrange(4, 40), sampling=ENDLESS)
            for name in chance.sample(NAMES, len(NAMES))
        ]
        bench.add(*requests[:4])
        later = requests[4:]
        while bench.scheduler.has_work:
            bench.step()
            slots = sorted(bench.context.batch_slots)
            assert bench.context.has_prompts or slots == list(range(slots[0], slots[0] + len(slots)))
            if later and chance.random() < 0.3:
                bench.add(later.pop())
        assert [bench.ends(each) for each in requests] == [[Finished]] * len(requests)
        bench.assert_empty()
    with Bench(model, slots=1, context=128, kv_tokens=128, store_bytes=0) as bench:
        for each in requests:
            alone = bench.sequence(each.prompt.tolist(), each.max_tokens, sampling=ENDLESS)
            bench.add(alone)
            bench.run()
            assert_same_save_ties(bench, alone.tokens, each.tokens)


def test_a_long_prompt_between_the_streams_changes_places_with_one(model: Model) -> None:
    with Bench(model, slots=4, context=256, kv_tokens=1024, step_tokens=16) as bench:
        first, second, third = (bench.sequence(STORY.format(name), 100, sampling=ENDLESS) for name in NAMES[:3])
        bench.add(first, second, third)
        bench.run_until(lambda: bool(third.generated))
        bench.scheduler.cancel(second)
        long = bench.sequence(words(180), 4)
        bench.add(long)
        bench.run_until(lambda: bench.context.batch_slots == [0, 1])
        assert [each.slot for each in (first, long, third)] == [0, 2, 1]
        assert not long.generated
        bench.run()
        assert [bench.ends(each) for each in (first, third, long)] == [[Finished]] * 3
        bench.assert_empty()
