"""A sequence's state, as llama.cpp writes it, in rows: what it has computed for each token.

The form is llama.cpp's own, of ``llama_kv_cache::state_write`` at the commit that llama-cpp-python 0.3.36 carries: a
head; for each stream a count of cells, then of each cell its position and its sequence; then layer by layer the keys
of all cells, and after those the values. What differs from it is refused, not guessed at.
"""

from __future__ import annotations

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

    def state(self, rows: State) -> State:
        """The state of a sequence that has computed these rows (tokens, ``row_bytes``), from position 0 on."""
        count = len(rows)
        cells = numpy.zeros(count, dtype=_CELL)
        cells["position"] = numpy.arange(count)
        cells["sequences"] = 1
        pieces = [self.head, _number(self.streams), _number(count), cells.tobytes(), _number(0), _number(self.layers)]
        start = 0
        for kind, size in self.tensors:
            pieces.append(numpy.array((kind, size), dtype=_TENSOR).tobytes())
            pieces.append(rows[:, start : start + size].tobytes())
            start += size
        pieces.append(_number(0) * (self.streams - 1))  # the other streams have no cell of it
        return numpy.frombuffer(b"".join(pieces), dtype=numpy.uint8)


def rows_of(state: State) -> tuple[StateForm, State]:
    """The form, and the rows in the order of their positions, which are 0, 1, 2 and so on; StateFormError."""
    reader = _Reader(state)
    head = bytes(reader.take(_HEAD_BYTES))
    streams = reader.number()
    before = 0
    while (count := reader.number()) == 0:
        before += 1
        if before == streams:
            raise StateFormError("it has no cells")
    cells = reader.take(count * _CELL.itemsize).view(_CELL)
    order = numpy.argsort(cells["position"])
    if not (cells["sequences"] == 1).all() or not (cells["position"][order] == numpy.arange(count)).all():
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
    rows = numpy.concatenate(columns, axis=1)
    in_order = bool((order[:-1] < order[1:]).all())
    return StateForm(head, streams, layers, tuple(tensors)), rows if in_order else rows[order]


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
