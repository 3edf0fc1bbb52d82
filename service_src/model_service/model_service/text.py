"""Tokens' bytes to text: characters and stop strings may span any number of tokens."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextAssembler:
    """Turns one sequence's bytes into text that is safe to send.

    Text that may be the beginning of a stop string is held back until it is known.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = stops
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, piece: bytes) -> tuple[str, bool]:
        """The text that can be sent now, and whether a stop string ended the answer before its rest."""
        self._held += self._decoder.decode(piece)
        found = [at for at in (self._held.find(stop) for stop in self._stops) if at >= 0]
        if found:
            return self._held[: min(found)], True
        ready = len(self._held) - self._possible_stop()
        text, self._held = self._held[:ready], self._held[ready:]
        return text, False

    def finish(self) -> str:
        """What was held back; bytes of a character that never became whole are dropped."""
        text, self._held = self._held, ""
        return text

    def _possible_stop(self) -> int:
        """The length of the longest end of the held text that a stop string begins with."""
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0
