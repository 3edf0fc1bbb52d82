"""Which sequence has which slot."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection

from model_service.llama.sequence import Sequence


class Slots:
    """``count`` of them, from 0 on."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = list(range(count))  # a heap: low slots first, so that few gaps come up

    def __bool__(self) -> bool:
        return bool(self._free)

    def take(self, sequence: Sequence) -> None:
        sequence.slot = heapq.heappop(self._free)

    def give_back(self, sequence: Sequence) -> None:
        heapq.heappush(self._free, sequence.slot)

    def close_gaps(
        self, together: Collection[Sequence], running: Collection[Sequence], exchange: Callable[[int, int], None]
    ) -> None:
        """Has ``together``, of those that run, follow each other without a gap, by as few exchanges as it takes.

        ``exchange`` has two slots swap what they hold.
        """
        taken = {each.slot for each in together}
        if not taken or max(taken) - min(taken) < len(taken):
            return
        starts = range(self._count - len(taken) + 1)
        start = max(starts, key=lambda start: len(taken & set(range(start, start + len(taken)))))
        wanted = range(start, start + len(taken))
        holders = {each.slot: each for each in running}
        outside = [each for each in together if each.slot not in wanted]
        for sequence, slot in zip(outside, sorted(set(wanted) - taken), strict=True):
            before, holder = sequence.slot, holders.get(slot)
            exchange(before, slot)
            sequence.slot = slot
            if holder is None:
                self._free.remove(slot)
                self._free.append(before)
                heapq.heapify(self._free)
            else:
                holder.slot = before
