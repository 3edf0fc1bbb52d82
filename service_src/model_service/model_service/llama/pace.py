"""How much of the prompts a step may carry, by the time that steps took.

A stream gets one token a step, so a step as long as a long prompt takes is a stutter for all of them.
"""

from __future__ import annotations

from typing import NamedTuple

# What of long prompts may come between two tokens of a stream, in times of what those take: half of the time is theirs,
STRETCH = 1.0
# and what nobody notices in any case.
UNNOTICED_SECONDS = 0.03
# A prompt that takes less is computed at once: one short delay is better than a slow start.
SHORT_PROMPT_SECONDS = 0.5
# With nobody to delay: what one that comes meanwhile may have to wait.
LONGEST_STEP_SECONDS = 1.0
_MIN_CHUNK = 16
# Of fewer tokens each takes several times as long, since all weights are read for them: an estimate by those would
# make the chunks smaller and smaller.
_MIN_MEASURED = 32
_WEIGHT = 0.15


class Chunk(NamedTuple):
    """Tokens of one prompt in one step, and how long they took or would take."""

    tokens: int
    seconds: float


class Pace:
    """Estimates from measured steps; ``most`` is the batch's room in tokens."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._token_seconds = 0.0  # of a prompt's token; 0: not known yet
        self._decode_seconds: dict[int, float] = {}  # of a step without prompts, by how many generate

    def budget(self, decoding: int) -> float:
        """Seconds for long prompts between two tokens of so many that generate."""
        return max(UNNOTICED_SECONDS, STRETCH * self._decode(decoding)) if decoding else LONGEST_STEP_SECONDS

    def chunk(self, seconds: float, last: Chunk | None) -> Chunk:
        """What of a prompt can be computed meanwhile. Each token takes longer than the one before it, and in a large
        chunk less than in a small one, so its own ``last`` chunk tells more than what all prompts took.
        """
        if last is None:
            tokens = self._tokens(seconds)
            return Chunk(tokens, tokens * self._token_seconds)
        tokens = max(1, min(self._most, round(last.tokens * seconds / last.seconds)))
        return Chunk(tokens, tokens * last.seconds / last.tokens)

    def short_prompt(self) -> int:
        """Tokens that are computed at once."""
        return self._tokens(SHORT_PROMPT_SECONDS)

    def decoded(self, sequences: int, seconds: float) -> None:
        """What a token of each of so many sequences took."""
        before = self._decode_seconds.get(sequences, seconds)
        self._decode_seconds[sequences] = before + _WEIGHT * (seconds - before)

    def prefilled(self, tokens: int, seconds: float) -> None:
        """What so many tokens of prompts took, from the first on."""
        if tokens < _MIN_MEASURED and self._token_seconds:
            return
        each = seconds / tokens
        before = self._token_seconds or each
        self._token_seconds = before + _WEIGHT * (each - before)

    def _tokens(self, seconds: float) -> int:
        if not self._token_seconds:
            return self._most
        return max(_MIN_CHUNK, min(self._most, int(seconds / self._token_seconds)))

    def _decode(self, decoding: int) -> float:
        """Of so many, or of the next number that was measured."""
        if not self._decode_seconds:
            return self._token_seconds * decoding
        return self._decode_seconds[min(self._decode_seconds, key=lambda known: abs(known - decoding))]
