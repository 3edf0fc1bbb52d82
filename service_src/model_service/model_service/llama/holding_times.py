"""How long requests hold their slots, and so how many get free in some time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

import numpy

# So many ended requests tell; of older ones the load may have been another.
_REMEMBERED = 64


class HoldingTimes:
    """Of the last requests that ended, in seconds. One thread adds, others may read."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=_REMEMBERED)
        self._sorted = numpy.empty(0)

    def add(self, seconds: float) -> None:
        self._last.append(seconds)
        self._sorted = numpy.sort(self._last)

    @property
    def mean(self) -> float:
        """1 as long as nothing is known."""
        known = self._sorted
        return float(known.mean()) if len(known) else 1.0

    def frees_within(self, seconds: float, elapsed: Iterable[float]) -> float:
        """How many times a slot gets free in that time, at least and as a rule; each has been held for ``elapsed``.

        Requests that began together end together, so that matters: of those that took longer than a slot has been held,
        the part that had ended in that time is its probability. One standard deviation is taken off. In a long time
        slots get free more than once, each time/mean - 1 times at least (renewal theory).
        """
        known = self._sorted
        if not len(known):
            return math.inf
        held = numpy.fromiter(elapsed, dtype=float)
        longer = len(known) - numpy.searchsorted(known, held, "right")
        still = len(known) - numpy.searchsorted(known, held + seconds, "right")
        free = (longer - still) / numpy.maximum(longer, 1)
        once = float(numpy.sum(free) - numpy.sqrt(numpy.sum(free * (1 - free))))
        return max(once, len(held) * (seconds / self.mean - 1))
