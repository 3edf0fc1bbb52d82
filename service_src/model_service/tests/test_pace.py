"""How much of a long prompt goes into a step beside those who generate."""

from __future__ import annotations

import random

import pytest

from model_service.llama.pace import (
    _MIN_CHUNK,
    LONGEST_STEP_SECONDS,
    SHORT_PROMPT_SECONDS,
    STRETCH,
    UNNOTICED_SECONDS,
    Chunk,
    Pace,
)

MOST = 512


def measured(token_seconds: float, decode_seconds: float, decoding: int = 8) -> Pace:
    pace = Pace(MOST)
    for _ in range(100):
        pace.prefilled(100, 100 * token_seconds)
        pace.decoded(decoding, decode_seconds)
    return pace


def first_chunk(pace: Pace, decoding: int) -> int:
    return pace.chunk(pace.budget(decoding), None).tokens


def test_before_anything_was_measured_a_step_is_as_large_as_it_can_be() -> None:
    assert first_chunk(Pace(MOST), 0) == first_chunk(Pace(MOST), 8) == MOST


@pytest.mark.parametrize("decoding", [1, 4, 8, 16])
@pytest.mark.parametrize("decode_ms", [5, 40, 300])
def test_prompts_may_take_a_part_of_what_a_token_takes_or_what_nobody_notices(decoding: int, decode_ms: float) -> None:
    budget = measured(0.001, decode_ms / 1000, decoding).budget(decoding)
    assert budget == pytest.approx(max(STRETCH * decode_ms / 1000, UNNOTICED_SECONDS))


@pytest.mark.parametrize("seconds", [0.005, 0.05, 0.5])
@pytest.mark.parametrize("token_ms", [0.05, 0.5, 2, 20])
def test_a_first_chunk_takes_what_all_prompts_took(token_ms: float, seconds: float) -> None:
    chunk = measured(token_ms / 1000, 0.05).chunk(seconds, None)
    assert chunk.seconds == pytest.approx(chunk.tokens * token_ms / 1000)
    assert chunk.tokens in (MOST, _MIN_CHUNK) or chunk.seconds <= seconds
    # And it is no smaller than it has to be.
    assert chunk.tokens == MOST or (chunk.tokens + 1) * token_ms / 1000 >= seconds * 0.999


def test_without_a_last_chunk_it_never_exceeds_its_own_estimate_whatever_was_measured() -> None:
    chance = random.Random(1)
    for _ in range(200):
        pace = Pace(MOST)
        for _ in range(30):
            seconds = chance.uniform(0.0001, 0.5)
            if chance.random() < 0.5:
                pace.decoded(chance.randrange(1, 17), seconds)
            else:
                pace.prefilled(chance.choice([1, 8, 64, 500]), seconds)
        for decoding in range(1, 17):
            chunk = pace.chunk(pace.budget(decoding), None)
            assert _MIN_CHUNK <= chunk.tokens <= MOST
            if chunk.seconds and chunk.tokens > _MIN_CHUNK:
                assert chunk.seconds <= pace.budget(decoding)


@pytest.mark.parametrize("start_ms", [0.01, 1, 30])
@pytest.mark.parametrize("step_ms", [0, 8])
def test_chunks_come_to_take_their_budget_as_the_prompt_gets_longer(step_ms: float, start_ms: float) -> None:
    """With a time per token that grows with those before it, and one per step: the weights are read each time."""
    pace, budget = Pace(MOST), 0.04
    done, took, chunk = 0, [], Chunk(8, 8 * start_ms / 1000)  # whatever was measured before
    while done < 4000:
        chunk = pace.chunk(budget, chunk)
        seconds = (step_ms + chunk.tokens * (1 + done / 500)) / 1000
        chunk = Chunk(chunk.tokens, seconds)
        done += chunk.tokens
        took.append(seconds)
    settled = took[15:]
    last_token_seconds = (1 + 4000 / 500) / 1000
    assert max(settled) <= budget * 1.02 + last_token_seconds / 2  # to the nearest token
    assert sorted(settled)[len(settled) // 2] >= budget * 0.7


def test_one_token_gets_on_whatever_the_last_took() -> None:
    assert measured(0.001, 0.05).chunk(0.03, Chunk(1, 9.0)).tokens == 1


def test_with_nobody_to_delay_a_step_is_as_long_as_a_newcomer_may_wait() -> None:
    pace = measured(0.01, 0.05)
    assert first_chunk(pace, 0) == pytest.approx(LONGEST_STEP_SECONDS / 0.01, abs=1)
    assert pace.short_prompt() == pytest.approx(SHORT_PROMPT_SECONDS / 0.01, abs=1)


def test_chunks_shrink_when_prompts_take_longer_and_grow_again() -> None:
    pace = measured(0.001, 0.5)
    before = first_chunk(pace, 8)
    for _ in range(30):
        pace.prefilled(100, 1.0)  # ten times as long
    slowed = first_chunk(pace, 8)
    assert slowed < before / 5
    for _ in range(60):
        pace.prefilled(100, 0.1)
    assert first_chunk(pace, 8) == pytest.approx(before, rel=0.1)


def test_what_a_small_chunk_takes_does_not_make_the_next_smaller() -> None:
    pace = measured(0.001, 0.1)
    before = first_chunk(pace, 8)
    for _ in range(30):
        pace.prefilled(20, 0.2)  # all weights are read for few tokens
    assert first_chunk(pace, 8) == before


def test_chunks_grow_with_the_time_that_a_step_takes_anyway() -> None:
    pace = measured(0.001, 0.05)
    for _ in range(100):
        pace.decoded(16, 0.2)
    assert first_chunk(pace, 16) > first_chunk(pace, 8) >= first_chunk(pace, 1)


def test_one_slow_step_does_not_change_much() -> None:
    pace = measured(0.001, 0.1)
    before = first_chunk(pace, 8)
    pace.prefilled(50, 0.5)
    assert before / 8 < first_chunk(pace, 8) < before
