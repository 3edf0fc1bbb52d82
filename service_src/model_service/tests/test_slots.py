"""Slots are given out from the lowest on, and gaps are closed by few exchanges."""

from __future__ import annotations

import time

import numpy
from hypothesis import given
from hypothesis import strategies as st

from model_service.engine import GenerationRequest
from model_service.llama.sequence import Sequence
from model_service.llama.slots import Slots

SLOTS = 8


def sequence() -> Sequence:
    return Sequence(GenerationRequest(""), numpy.zeros(1, dtype=numpy.int32), 1, time.perf_counter())


def taken(slots: Slots, count: int) -> list[Sequence]:
    sequences = [sequence() for _ in range(count)]
    for each in sequences:
        slots.take(each)
    return sequences


def test_the_lowest_free_slot_is_taken() -> None:
    slots = Slots(4)
    sequences = taken(slots, 4)
    assert [each.slot for each in sequences] == [0, 1, 2, 3]
    assert not slots
    slots.give_back(sequences[2])
    slots.give_back(sequences[1])
    assert [each.slot for each in taken(slots, 2)] == [1, 2]


def test_one_behind_a_gap_moves_into_it() -> None:
    slots, moves = Slots(SLOTS), []
    running = taken(slots, 5)
    gone = running.pop(1)
    slots.give_back(gone)
    slots.close_gaps(running, running, lambda one, other: moves.append((one, other)))
    assert moves == [(4, 1)]
    assert [each.slot for each in running] == [0, 2, 3, 1]
    assert [each.slot for each in taken(slots, 4)] == [4, 5, 6, 7]


def test_what_follows_without_a_gap_stays_where_it_is() -> None:
    slots = Slots(SLOTS)
    running = taken(slots, SLOTS)
    slots.close_gaps(running[3:6], running, lambda *_: (_ for _ in ()).throw(AssertionError))
    slots.close_gaps([], running, lambda *_: (_ for _ in ()).throw(AssertionError))


@given(st.sets(st.integers(0, SLOTS - 1)), st.sets(st.integers(0, SLOTS - 1)))
def test_whoever_is_where_gaps_are_closed_and_each_keeps_what_it_has(free: set[int], apart: set[int]) -> None:
    slots = Slots(SLOTS)
    running = taken(slots, SLOTS)
    for each in running:
        if each.slot in free:
            slots.give_back(each)
    running = [each for each in running if each.slot not in free]
    together = [each for each in running if each.slot not in apart]
    held: list[Sequence | None] = [None] * SLOTS
    for each in running:
        held[each.slot] = each
    moves = 0

    def exchange(one: int, other: int) -> None:
        nonlocal moves
        moves += 1
        held[one], held[other] = held[other], held[one]

    before = {each.slot for each in together}
    slots.close_gaps(together, running, exchange)
    after = sorted(each.slot for each in together)
    assert after == list(range(after[0], after[0] + len(after))) if after else moves == 0
    assert all(held[each.slot] is each for each in running)
    fewest = min(
        (len(before - set(range(start, start + len(before)))) for start in range(SLOTS - len(before) + 1)), default=0
    )
    assert moves == fewest
    rest = taken(slots, SLOTS - len(running))
    assert sorted(each.slot for each in (*running, *rest)) == list(range(SLOTS))
