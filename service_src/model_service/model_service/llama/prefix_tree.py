"""Which running sequences begin alike, and so share the cells of their beginning.

Each sequence has at most one ``source``, whose first ``shared`` tokens are its own too; together they are a tree. One
may join a source that has not computed them yet, and waits. When a source leaves, one of those who share with it takes
its place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from model_service.llama.sequence import Sequence, Tokens

# Fewer tokens than these aren't worth waiting for.
MIN_SHARED = 8


def common_length(one: Tokens, other: Tokens) -> int:
    """How many tokens two sequences have in common from their beginning."""
    length = min(len(one), len(other))
    differs = one[:length] != other[:length]
    first = int(differs.argmax()) if length else 0
    return first if length and differs[first] else length


class PrefixTree:
    """The running sequences. ``share`` makes the cells of a source's first tokens a sequence's own, too."""

    def __init__(self, share: Callable[[Sequence, Sequence, int], None]) -> None:
        self._share = share
        self._sequences: list[Sequence] = []

    @property
    def cells(self) -> int:
        """Cells in use."""
        return sum(max(0, each.computed - each.shared) for each in tuple(self._sequences))

    @property
    def cells_promised(self) -> int:
        """Cells in use once all is computed that is known now."""
        return sum(len(each.tokens) - each.shared for each in self._sequences)

    def match(self, sequence: Sequence) -> tuple[Sequence | None, int]:
        """Who has the longest beginning in common, and its length; the last token is always computed anew."""
        wanted = sequence.prompt[:-1]
        best, length = None, MIN_SHARED - 1
        for other in self._sequences:
            if other.salt == sequence.salt and len(other.prompt) > length:
                common = common_length(wanted, other.prompt)
                if common > length or (common == length and best is not None and other.computed > best.computed):
                    best, length = other, common
        return (best, length) if best is not None else (None, 0)

    def add(self, sequence: Sequence, source: Sequence | None = None, shared: int = 0) -> None:
        sequence.source, sequence.shared = source, shared
        self._sequences.append(sequence)

    def advance(self, sequence: Sequence) -> None:
        """Takes over what the source has computed by now, if it waits for that."""
        source = sequence.source
        if source is not None and sequence.waits_for_prefix and source.computed >= sequence.shared:
            self._take(sequence, source, sequence.shared)

    def remove(self, sequence: Sequence) -> None:
        """Before the sequence's cells are cleared: who shares with it keeps them."""
        self._sequences.remove(sequence)
        heirs = [each for each in self._sequences if each.source is sequence]
        if heirs:
            heir = max(heirs, key=lambda each: each.shared)
            self._take(heir, sequence, min(sequence.computed, heir.shared))
            for each in heirs:
                each.source = heir
            heir.source = sequence.source
            heir.shared = min(heir.shared, sequence.shared)
        sequence.source, sequence.shared = None, 0

    def clear(self) -> Collection[Sequence]:
        """Forgets all sequences, whose cells are gone; returns them."""
        sequences, self._sequences = self._sequences, []
        for each in sequences:
            each.source, each.shared, each.computed = None, 0, 0
        return sequences

    def _take(self, sequence: Sequence, source: Sequence, length: int) -> None:
        if length > sequence.computed:
            self._share(source, sequence, length)
            # Not a sum: who was paused may take the same once more.
            sequence.cached = max(sequence.cached, min(length, len(sequence.prompt)))
            sequence.computed = length
