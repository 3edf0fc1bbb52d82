"""Who waits for a slot, and in which order."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator

from model_service.engine import Priority
from model_service.llama.sequence import Sequence

# How much longer a batch request may wait than an interactive one.
BATCH_PATIENCE = 10
# That it gets a slot in time was an estimate. Who was let in, and is one of the next, had better wait some more.
_GRACE = 2


def patience_seconds(priority: Priority, timeout_seconds: float) -> float:
    """How long the wait for a first slot may be expected to take."""
    return timeout_seconds * (BATCH_PATIENCE if priority == "batch" else 1)


def longest_wait_seconds(priority: Priority, timeout_seconds: float) -> float:
    """How long it may take."""
    return _GRACE * patience_seconds(priority, timeout_seconds)


def rank(priority: Priority, submitted_at: float, timeout_seconds: float) -> float:
    """The lowest goes first.

    Interactive requests go before batch requests, of which one that has waited for ``timeout_seconds`` counts as
    interactive.
    """
    return submitted_at + (timeout_seconds if priority == "batch" else 0.0)


class WaitingQueue:
    """Those without a slot, in the order of their rank.

    A paused sequence keeps the rank that it came with, so it goes before all that came later.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._sequences: list[Sequence] = []

    def __len__(self) -> int:
        return len(self._sequences)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._sequences)

    @property
    def first(self) -> Sequence:
        return self._sequences[0]

    def add(self, sequence: Sequence) -> None:
        insort(self._sequences, sequence, key=self.rank)

    def remove(self, sequence: Sequence) -> None:
        self._sequences.remove(sequence)

    def rank(self, sequence: Sequence) -> float:
        return rank(sequence.request.priority, sequence.submitted_at, self._timeout_seconds)

    def yields(self, sequence: Sequence, now: float) -> bool:
        """Whether a running sequence makes room for an interactive one."""
        return sequence.request.priority == "batch" and self.rank(sequence) > now

    def expired(self, now: float) -> list[Sequence]:
        """Removes and returns those that have waited too long for their first slot."""
        late = [
            each
            for each in self._sequences
            if not each.started_at
            and each.submitted_at < now - longest_wait_seconds(each.request.priority, self._timeout_seconds)
        ]
        for each in late:
            self._sequences.remove(each)
        return late
