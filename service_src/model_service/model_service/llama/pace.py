"""How much of the prompts a step may carry, by the time that steps took.

A stream gets one token a step, so a step as long as a long prompt takes is a stutter for all of them.
"""

from __future__ import annotations

# How much longer a step may take than one without prompts, while somebody generates.
STRETCH = 0.7
# A prompt that takes less is computed at once: one short delay is better than a slow start.
SHORT_PROMPT_SECONDS = 0.25
# With nobody to delay: what a request that comes meanwhile has to wait.
LONGEST_STEP_SECONDS = 1.0
_MIN_CHUNK = 8
# From how many prompt tokens on a step's time says something of each.
_MIN_MEASURED = 4
_WEIGHT = 0.15


class Pace:
    """Estimates from measured steps; ``most`` is the batch's room in tokens."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._token_seconds = 0.0  # of a prompt's token; 0: not known yet
        self._decode_seconds: dict[int, float] = {}  # of a step without prompts, by how many generate

    def chunk(self, decoding: int) -> int:
        """Tokens of long prompts that fit into a step beside so many that generate."""
        seconds = LONGEST_STEP_SECONDS if decoding == 0 else STRETCH * self._decode(decoding)
        return self._tokens(seconds)

    def short_prompt(self) -> int:
        """Tokens that are computed at once."""
        return self._tokens(SHORT_PROMPT_SECONDS)

    def measured(self, decoding: int, prompt_tokens: int, seconds: float) -> None:
        """What a step took."""
        if prompt_tokens == 0:
            before = self._decode_seconds.get(decoding, seconds)
            self._decode_seconds[decoding] = before + _WEIGHT * (seconds - before)
        elif prompt_tokens >= _MIN_MEASURED:
            rest = seconds - (self._decode(decoding) if decoding else 0.0)
            each = max(rest, seconds / 10) / prompt_tokens
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
