"""What ended sequences had computed, kept in ordinary memory for those that begin alike.

Not in the KV cache: there every cell in use slows each decode, whoever it belongs to. Kept by blocks of tokens, each
under a digest of all tokens up to its end, so sequences that begin alike have their first blocks in common.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator

from model_service.llama.context import Context, State
from model_service.llama.sequence import Sequence, Tokens

BLOCK_TOKENS = 16


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

    def save(self, context: Context, sequence: Sequence, tokens: Tokens) -> None:
        """Keeps these tokens, all of which the sequence's slot has computed."""
        keys = list(_keys(sequence, tokens))
        for number, key in enumerate(keys):
            if key not in self._blocks:
                start = number * BLOCK_TOKENS
                state = context.save(sequence.slot, start, start + BLOCK_TOKENS)
                self._blocks[key] = state
                self.bytes += len(state)
        # A block is of no use without those before it, so they go later.
        for key in reversed(keys):
            self._blocks.move_to_end(key)
        while self.bytes > self._limit:
            self.bytes -= len(self._blocks.popitem(last=False)[1])

    def restore(self, context: Context, sequence: Sequence, tokens: Tokens, length: int) -> int:
        """Gives the sequence's slot its first ``length`` tokens, of those known; returns how many it got."""
        restored = 0
        keys = [key for _, key in zip(range(0, length, BLOCK_TOKENS), _keys(sequence, tokens), strict=False)]
        for key in keys:
            if not context.restore(sequence.slot, self._blocks[key]):
                break
            restored += BLOCK_TOKENS
        for key in reversed(keys):
            self._blocks.move_to_end(key)
        return restored

    def clear(self) -> None:
        self._blocks.clear()
        self.bytes = 0


def _keys(sequence: Sequence, tokens: Tokens) -> Iterator[bytes]:
    digest = hashlib.blake2b(repr(sequence.salt).encode(), digest_size=16)
    for start in range(0, len(tokens) - BLOCK_TOKENS + 1, BLOCK_TOKENS):
        digest.update(tokens[start : start + BLOCK_TOKENS].tobytes())
        yield digest.digest()
