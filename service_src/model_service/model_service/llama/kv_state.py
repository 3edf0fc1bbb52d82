"""A sequence's state, as llama.cpp writes it, in rows: what it has computed for each token.

The form is llama.cpp's own, of ``llama_kv_cache::state_write`` at the commit that llama-cpp-python 0.3.36 carries: a
head; for each stream a count of cells, then of each cell its position and its sequence; then layer by layer the keys
of all cells, and after those the values. What differs from it is refused, not guessed at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

State = NDArray[numpy.uint8]

_HEAD_BYTES = 8  # a magic number and the sequence's id
_CELL = numpy.dtype([("position", "<i4"), ("sequences", "<u4"), ("sequence", "<i4")])
_TENSOR = numpy.dtype([("type", "<i4"), ("row_bytes", "<u8")])


class StateFormError(Exception):
    """A state that isn't of the form that is known here."""


@dataclass(frozen=True, slots=True)
class StateForm:
    """What the states of one context have in common. ``tensors`` are (type, bytes of a row), keys before values."""

    head: bytes
    streams: int
    layers: int
    tensors: tuple[tuple[int, int], ...]

    @property
    def row_bytes(self) -> int:
        return sum(size for _, size in self.tensors)

    def size(self, tokens: int) -> int:
        """Bytes of the state of so many."""
        return len(self._head(0)) + tokens * (_CELL.itemsize + self.row_bytes) + self._bytes_besides

    def write(self, blocks: Sequence[State], state: State) -> None:
        """Makes ``state`` that of a sequence which has computed the rows of these blocks, one after the other, from
        position 0 on. A block is (tokens, ``row_bytes``); ``state`` has the ``size`` of all tokens.
        """
        count = sum(map(len, blocks))
        head = self._head(count)
        state[: len(head)] = numpy.frombuffer(head, numpy.uint8)
        at, start = len(head), 0
        for tensor in self.tensors:
            size = tensor[1]
            state[at : at + _TENSOR.itemsize] = numpy.array(tensor, _TENSOR).reshape(1).view(numpy.uint8)
            at += _TENSOR.itemsize
            column = state[at : at + count * size].reshape(count, size)
            numpy.concatenate([block[:, start : start + size] for block in blocks], out=column)
            at, start = at + count * size, start + size
        state[at:] = 0  # the other streams have no cell of it

    def _head(self, count: int) -> bytes:
        cells = numpy.zeros(count, dtype=_CELL)
        cells["position"] = numpy.arange(count)
        cells["sequences"] = 1
        return b"".join(
            (self.head, _number(self.streams), _number(count), cells.tobytes(), _number(0), _number(self.layers))
        )

    @property
    def _bytes_besides(self) -> int:
        return len(self.tensors) * _TENSOR.itemsize + 4 * (self.streams - 1)


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a state, of positions 0, 1, 2 and so on, good as long as the state isn't written over."""

    form: StateForm
    columns: Sequence[State]  # one of each tensor: (cells, bytes)
    cells: NDArray[numpy.intp]  # of each position

    def copy(self, start: int, count: int) -> State:
        """So many rows (``count``, ``row_bytes``) from this position on."""
        cells = self.cells[start : start + count]
        follow = cells[-1] - cells[0] == count - 1 and bool((cells[:-1] < cells[1:]).all())
        # As nearly always; then it's ten times as fast.
        at: slice | NDArray[numpy.intp] = slice(cells[0], cells[-1] + 1) if follow else cells
        return numpy.concatenate([column[at] for column in self.columns], axis=1)


def rows_of(state: State) -> Rows:
    """Raises StateFormError."""
    reader = _Reader(state)
    head = bytes(reader.take(_HEAD_BYTES))
    streams = reader.number()
    before = 0
    while (count := reader.number()) == 0:
        before += 1
        if before == streams:
            raise StateFormError("it has no cells")
    cells = reader.take(count * _CELL.itemsize).view(_CELL)
    cells_of = numpy.argsort(cells["position"])
    if not (cells["sequences"] == 1).all() or not (cells["position"][cells_of] == numpy.arange(count)).all():
        raise StateFormError("its cells are not those of one sequence from its beginning on")
    if reader.number() != 0:
        raise StateFormError("its values are transposed")
    layers = reader.number()
    end = len(state) - 4 * (streams - 1 - before)
    tensors, columns = [], []
    while reader.at < end:
        kind, size = (int(value) for value in reader.take(_TENSOR.itemsize).view(_TENSOR)[0])
        tensors.append((kind, size))
        columns.append(reader.take(count * size).reshape(count, size))
    # Some models have no values: they make them of the keys.
    if reader.at != end or len(tensors) not in (layers, 2 * layers) or state[end:].any():
        raise StateFormError("it doesn't end after its layers")
    return Rows(StateForm(head, streams, layers, tuple(tensors)), columns, cells_of)


class _Reader:
    def __init__(self, state: State) -> None:
        self._state = state
        self.at = 0

    def take(self, length: int) -> State:
        start, self.at = self.at, self.at + length
        if self.at > len(self._state):
            raise StateFormError("it ends too early")
        return self._state[start : self.at]

    def number(self) -> int:
        return int(self.take(4).view("<u4")[0])


def _number(value: int) -> bytes:
    return value.to_bytes(4, "little")
