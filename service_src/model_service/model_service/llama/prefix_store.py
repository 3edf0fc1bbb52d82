"""What ended sequences had computed, kept in ordinary memory for those that begin alike.

Not in the KV cache: there every cell in use slows each decode, whoever it belongs to. Kept by blocks of tokens, each
under a digest of all tokens up to its end, so sequences that begin alike have their first blocks in common.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator

from model_service.llama.kv_cache import Cache
from model_service.llama.kv_state import State
from model_service.llama.sequence import Sequence, Tokens

BLOCK_TOKENS = 8


class PrefixStore:
    """Blocks up to ``limit`` bytes; the least recently used go first. One thread only."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
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
        room = self._limit - sum(self._blocks[key].nbytes for key in keys[:known])
        for key, state in zip(keys[known:], cache.save(sequence.slot, starts, BLOCK_TOKENS), strict=False):
            room -= state.nbytes
            if room < 0:
                break
            self._blocks[key] = state
            self.bytes += state.nbytes
            while self.bytes > self._limit:
                self.bytes -= self._blocks.popitem(last=False)[1].nbytes
        self._touch(keys)

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

    def clear(self) -> None:
        self._blocks.clear()
        self.bytes = 0


def _keys(sequence: Sequence, tokens: Tokens) -> Iterator[bytes]:
    digest = hashlib.blake2b(repr(sequence.salt).encode(), digest_size=16)
    for start in range(0, len(tokens) - BLOCK_TOKENS + 1, BLOCK_TOKENS):
        digest.update(tokens[start : start + BLOCK_TOKENS].tobytes())
        yield digest.digest()
