"""What ended sequences had computed, kept in ordinary memory for those that begin alike.

Not in the KV cache: there every cell in use slows each decode, whoever it belongs to. Kept by blocks of tokens, each
under a digest of all tokens up to its end, so sequences that begin alike have their first blocks in common.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial

import numpy

from model_service.llama.kv_cache import Cache
from model_service.llama.kv_state import State
from model_service.llama.sequence import Sequence, Tokens

BLOCK_TOKENS = 8


class _Room:
    """For blocks of one size, that of the first. Taken from the system once, as what is new there takes longer to get
    than to write to; what isn't written to takes no memory.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rows: State = numpy.empty((0, 0), dtype=numpy.uint8)
        self._begun = 0  # rows that were in use at some time
        self._free: list[State] = []

    def take(self, size: int) -> State | None:
        """Room for a block of so many bytes; None where there is none left, or it isn't like the others."""
        if not self._begun:
            self._rows = numpy.empty((self._limit // size, size), dtype=numpy.uint8)
        if size != self._rows.shape[1]:
            return None
        if self._free:
            return self._free.pop()
        if self._begun == len(self._rows):
            return None
        row: State = self._rows[self._begun]
        self._begun += 1
        return row

    def give_back(self, block: State) -> None:
        self._free.append(block.reshape(-1))


class PrefixStore:
    """Blocks up to ``limit`` bytes; the least recently used go first. One thread only."""

    def __init__(self, limit: int) -> None:
        self._room = _Room(limit)
        self._blocks: OrderedDict[bytes, State] = OrderedDict()
        self.bytes = 0

    def known_length(self, sequence: Sequence, tokens: Tokens) -> int:
        """How many of these tokens are kept, from the first on."""
        count = 0
        for key in _keys(sequence, tokens):
            if key not in self._blocks:
                break
            count += BLOCK_TOKENS
        return count

    def save(self, cache: Cache, sequence: Sequence, tokens: Tokens) -> None:
        """Keeps these tokens, all of which the sequence's slot has computed, or the first of them that have room."""
        keys = list(_keys(sequence, tokens))
        self._touch(keys)
        known = self.known_length(sequence, tokens) // BLOCK_TOKENS
        starts = range(known * BLOCK_TOKENS, len(keys) * BLOCK_TOKENS, BLOCK_TOKENS)
        if not starts:
            return
        take = partial(self._take, frozenset(keys))
        for key, block in zip(keys[known:], cache.save(sequence.slot, starts, BLOCK_TOKENS, take), strict=False):
            self._blocks[key] = block
            self.bytes += block.nbytes
        self._touch(keys)

    def _take(self, kept: frozenset[bytes], size: int) -> State | None:
        """Room for a block, the least recently used one's if need be; None if only ``kept`` ones are left."""
        room = self._room.take(size)
        if room is None and self._blocks:
            oldest = next(iter(self._blocks))
            if oldest not in kept:
                block = self._blocks.pop(oldest)
                self.bytes -= block.nbytes
                self._room.give_back(block)
                room = self._room.take(size)
        return room

    def restore(self, cache: Cache, sequence: Sequence, tokens: Tokens, start: int) -> int:
        """Gives the sequence's slot these tokens, all known, from ``start`` on; returns how many it got."""
        keys = list(_keys(sequence, tokens))
        self._touch(keys)
        return BLOCK_TOKENS * cache.restore(sequence.slot, [self._blocks[key] for key in keys[start // BLOCK_TOKENS :]])

    def _touch(self, keys: list[bytes]) -> None:
        # A block is of no use without those before it, so they go later.
        for key in reversed(keys):
            if key in self._blocks:
                self._blocks.move_to_end(key)


def _keys(sequence: Sequence, tokens: Tokens) -> Iterator[bytes]:
    digest = hashlib.blake2b(repr(sequence.salt).encode(), digest_size=16)
    for start in range(0, len(tokens) - BLOCK_TOKENS + 1, BLOCK_TOKENS):
        digest.update(tokens[start : start + BLOCK_TOKENS].tobytes())
        yield digest.digest()
