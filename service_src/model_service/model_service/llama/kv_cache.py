"""The KV cache of a context, by slots, in the two layouts that llama.cpp has.

``docs/engine.md`` says when which one is taken, and why.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from typing import Any

import numpy

from model_service.llama.bindings import llama
from model_service.llama.kv_state import State, StateForm, StateFormError, rows_of


class StateMemory:
    """Room for one state at a time, kept: the system takes twenty times as long to give new memory as it takes to
    copy a state into what is there. No larger than the largest state so far needs twice.
    """

    def __init__(self) -> None:
        self._room: State = numpy.empty(0, dtype=numpy.uint8)

    def take(self, size: int) -> State:
        """So many bytes, good until the next call."""
        if size > len(self._room):
            self._room = numpy.empty(2 * size, dtype=numpy.uint8)  # what isn't written to takes no memory
        return self._room[:size]


class _Cache:
    """What both layouts do alike."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._memory = llama.llama_get_memory(context)

    def truncate(self, slot: int, length: int) -> None:
        """Takes away all that the slot has behind its first ``length`` tokens."""
        llama.llama_memory_seq_rm(self._memory, slot, length, -1)

    def clear(self, slot: int) -> None:
        llama.llama_memory_seq_rm(self._memory, slot, -1, -1)

    def length(self, slot: int) -> int:
        """How many tokens the slot has, if it has them from the first on."""
        return int(llama.llama_memory_seq_pos_max(self._memory, slot)) + 1

    def _state(self, slot: int, memory: StateMemory | None = None) -> State:
        size = llama.llama_state_seq_get_size(self._context, slot)
        state = memory.take(size) if memory else numpy.empty(size, dtype=numpy.uint8)
        llama.llama_state_seq_get_data(self._context, _pointer(state), size, slot)
        return state

    def _set_state(self, slot: int, state: State) -> bool:
        """Instead of what the slot has; False, and it has nothing, where no room is left."""
        return bool(llama.llama_state_seq_set_data(self._context, _pointer(state), len(state), slot))


class UnifiedCache(_Cache):
    """One pool of cells, which slots with a common beginning share. ``scratch`` is a sequence of no request's."""

    is_split = False

    def __init__(self, context: Any, scratch: int) -> None:
        super().__init__(context)
        self._scratch = scratch

    def share(self, source: int, slot: int, length: int) -> None:
        """Gives ``slot`` the first ``length`` tokens of ``source``, in the same cells."""
        llama.llama_memory_seq_cp(self._memory, source, slot, 0, length)

    def save(self, slot: int, starts: Sequence[int], count: int) -> Iterator[State]:
        """Copies of what the slot has from each start on, of so many tokens each."""
        for start in starts:
            llama.llama_memory_seq_cp(self._memory, slot, self._scratch, start, start + count)
            state = self._state(self._scratch)
            self.clear(self._scratch)
            yield state

    def restore(self, slot: int, blocks: Sequence[State]) -> int:
        """Adds what ``save`` gave to the slot; how many of them it had room for."""
        for number, block in enumerate(blocks):
            has_room = self._set_state(self._scratch, block)
            llama.llama_memory_seq_cp(self._memory, self._scratch, slot, -1, -1)
            self.clear(self._scratch)
            if not has_room:
                return number
        return len(blocks)


class SplitCache(_Cache):
    """Room of its own for each slot; sharing is copying. Of the slots in a batch, those that follow each other without
    a gap are computed together, the others one after the other.
    """

    is_split = True

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self._form: StateForm | None = None
        self._state_memory = StateMemory()

    def share(self, source: int, slot: int, length: int) -> None:
        """Gives ``slot``, instead of what it has, a copy of the first ``length`` tokens of ``source``."""
        self._set_state(slot, self._state(source, self._state_memory))
        self.truncate(slot, length)

    def exchange(self, one: int, other: int) -> None:
        """Has two slots swap what they hold."""
        # Rarely both hold something, so the other one's state is in memory that isn't kept.
        moves = ((one, other, self._state_memory), (other, one, None))
        states = [(target, self._state(slot, memory)) for slot, target, memory in moves if self.length(slot)]
        self.clear(one)
        self.clear(other)
        for target, state in states:
            self._set_state(target, state)

    def save(self, slot: int, starts: Sequence[int], count: int) -> Iterator[State]:
        """Copies of what the slot has from each start on, of so many tokens each; none if they can't be cut out."""
        try:
            rows = rows_of(self._state(slot, self._state_memory))
        except StateFormError:
            return
        self._form = rows.form
        for start in starts:
            yield rows.copy(start, count)

    def restore(self, slot: int, blocks: Sequence[State]) -> int:
        """Gives an empty slot what ``save`` gave; how many of them it had room for."""
        if self._form is None or not blocks:
            return 0  # they are a lost context's
        state = self._state_memory.take(self._form.size(sum(map(len, blocks))))
        self._form.write(blocks, state)
        return len(blocks) if self._set_state(slot, state) else 0


Cache = UnifiedCache | SplitCache


def _pointer(state: State) -> Any:
    return state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
