"""States of sequences, taken apart and put together again."""

from __future__ import annotations

import numpy
import pytest

from model_service.llama.kv_state import State, StateForm, StateFormError, rows_of

FORM = StateForm(head=b"llamaseq", streams=3, layers=2, tensors=((1, 6), (1, 6), (8, 4), (8, 4)))
COUNT_AT = 12  # of the first stream's cells


def rows(count: int) -> State:
    return numpy.random.default_rng(count).integers(0, 256, (count, FORM.row_bytes), dtype=numpy.uint8)


def state_of(*blocks: State) -> State:
    state = numpy.full(FORM.size(sum(map(len, blocks))), 255, dtype=numpy.uint8)  # as memory that was used before
    FORM.write(blocks, state)
    return state


@pytest.mark.parametrize("count", [1, 2, 100])
def test_rows_come_back_as_they_were(count: int) -> None:
    back = rows_of(state_of(rows(count)))
    assert back.form == FORM
    assert (back.copy(0, count) == rows(count)).all()
    assert (back.copy(count - 1, 1) == rows(count)[-1]).all()


def test_blocks_follow_each_other() -> None:
    whole = rows(100)
    assert (state_of(whole[:8], whole[8:16], whole[16:]) == state_of(whole)).all()


def test_a_part_of_the_rows_is_a_state_too() -> None:
    part = rows_of(state_of(rows(100))).copy(0, 48)
    assert (rows_of(state_of(part)).copy(0, 48) == rows(100)[:48]).all()


def test_the_cells_may_be_of_any_stream_and_in_any_order() -> None:
    state = state_of(rows(2)).tobytes()
    first, second = state[16:28], state[28:40]
    assert state[8:12] == (3).to_bytes(4, "little")
    assert state[COUNT_AT:16] == (2).to_bytes(4, "little")
    swapped = bytearray(state[:16] + second + first + state[40:])
    assert len(swapped) == len(state)
    # And from the first stream to the last: its two zeros go before.
    moved = bytes(swapped[:COUNT_AT] + bytes(8) + swapped[COUNT_AT:-8])
    back = rows_of(numpy.frombuffer(moved, dtype=numpy.uint8))
    assert back.form == FORM
    assert (back.copy(0, 2) == rows(2)[::-1]).all()


def test_what_is_cut_off_anywhere_is_refused() -> None:
    state = state_of(rows(3))
    for length in range(len(state)):
        with pytest.raises(StateFormError):
            rows_of(state[:length])


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (16, 5, "from its beginning on"),
        (20, 2, "from its beginning on"),
        (40, 1, "transposed"),
        (44, 9, "end after its layers"),
    ],
    ids=["a hole", "a shared cell", "transposed", "too many layers"],
)
def test_another_form_is_refused(at: int, value: int, said: str) -> None:
    state = state_of(rows(2)).copy()
    state[at : at + 4] = numpy.frombuffer(value.to_bytes(4, "little"), dtype=numpy.uint8)
    with pytest.raises(StateFormError, match=said):
        rows_of(state)


def test_a_state_of_no_cells_is_refused() -> None:
    with pytest.raises(StateFormError, match="no cells"):
        rows_of(numpy.frombuffer(FORM.head + bytes([3, 0, 0, 0]) + bytes(12), dtype=numpy.uint8))
