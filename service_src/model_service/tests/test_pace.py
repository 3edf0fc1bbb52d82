"""How much of a long prompt goes into a step beside those who generate."""

from __future__ import annotations

import random

import pytest

from model_service.llama.pace import _MIN_CHUNK, LONGEST_STEP_SECONDS, SHORT_PROMPT_SECONDS, STRETCH, Pace

MOST = 512


def measured(token_seconds: float, decode_seconds: float, decoding: int = 8) -> Pace:
    pace = Pace(MOST)
    for _ in range(100):
        pace.prefilled(100, 100 * token_seconds)
        pace.decoded(decoding, decode_seconds)
    return pace


def test_before_anything_was_measured_a_step_is_as_large_as_it_can_be() -> None:
    assert Pace(MOST).chunk(0) == Pace(MOST).chunk(8) == MOST


@pytest.mark.parametrize("decoding", [1, 4, 8, 16])
@pytest.mark.parametrize("token_ms", [0.05, 0.5, 2, 20])
@pytest.mark.parametrize("decode_ms", [5, 40, 300])
def test_a_chunk_takes_no_longer_than_it_may(decoding: int, token_ms: float, decode_ms: float) -> None:
    chunk = measured(token_ms / 1000, decode_ms / 1000, decoding).chunk(decoding)
    assert chunk in (MOST, _MIN_CHUNK) or chunk * token_ms <= STRETCH * decode_ms * 1.01
    # And it is no smaller than it has to be.
    assert chunk == MOST or (chunk + 1) * token_ms >= STRETCH * decode_ms * 0.99


def test_it_never_exceeds_its_own_estimate_whatever_was_measured() -> None:
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
            chunk = pace.chunk(decoding)
            assert _MIN_CHUNK <= chunk <= MOST
            if pace._token_seconds and chunk > _MIN_CHUNK:
                assert chunk * pace._token_seconds <= STRETCH * pace._decode(decoding)


def test_with_nobody_to_delay_a_step_is_as_long_as_a_newcomer_may_wait() -> None:
    pace = measured(0.01, 0.05)
    assert pace.chunk(0) == pytest.approx(LONGEST_STEP_SECONDS / 0.01, abs=1)
    assert pace.short_prompt() == pytest.approx(SHORT_PROMPT_SECONDS / 0.01, abs=1)


def test_chunks_shrink_when_prompts_take_longer_and_grow_again() -> None:
    pace = measured(0.001, 0.5)
    before = pace.chunk(8)
    for _ in range(30):
        pace.prefilled(100, 1.0)  # ten times as long
    slowed = pace.chunk(8)
    assert slowed < before / 5
    for _ in range(60):
        pace.prefilled(100, 0.1)
    assert pace.chunk(8) == pytest.approx(before, rel=0.1)


def test_what_a_small_chunk_takes_does_not_make_the_next_smaller() -> None:
    pace = measured(0.001, 0.1)
    before = pace.chunk(8)
    for _ in range(30):
        pace.prefilled(20, 0.2)  # all weights are read for few tokens
    assert pace.chunk(8) == before


def test_chunks_grow_with_the_time_that_a_step_takes_anyway() -> None:
    pace = measured(0.001, 0.05)
    for _ in range(100):
        pace.decoded(16, 0.2)
    assert pace.chunk(16) > pace.chunk(8) >= pace.chunk(1)


def test_one_slow_step_does_not_change_much() -> None:
    pace = measured(0.001, 0.1)
    before = pace.chunk(8)
    pace.prefilled(50, 0.5)
    assert before / 8 < pace.chunk(8) < before
