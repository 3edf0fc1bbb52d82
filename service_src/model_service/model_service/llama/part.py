"""What a sequence begins with, and what it contributes to a step."""

from __future__ import annotations

from dataclasses import dataclass

from model_service.llama.pace import Pace
from model_service.llama.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where the first tokens come from: ``shared`` ones from ``source``, those up to ``stored`` from the store."""

    source: Sequence | None = None
    shared: int = 0
    stored: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """What one sequence contributes to a step."""

    sequence: Sequence
    count: int

    @property
    def tokens(self) -> list[int]:
        start = self.sequence.computed
        return self.sequence.tokens[start : start + self.count]

    @property
    def is_whole(self) -> bool:
        """Whether the next token can be sampled after it."""
        return self.count == self.sequence.pending


def prompt_parts(prefilling: list[Sequence], decoding: int, room: int, pace: Pace) -> list[Part]:
    """What of these prompts is next, in up to ``room`` tokens, beside so many sequences that generate: short ones at
    once, the others bit by bit; both in the order that they came.
    """
    parts = []
    seconds = pace.budget(decoding)
    short = at_once = pace.short_prompt()
    for sequence in prefilling:
        if decoding and len(sequence.tokens) - sequence.cached <= short:
            count = min(sequence.pending, room, at_once)
            at_once -= count
        elif seconds > 0:
            chunk = pace.chunk(seconds, sequence.last_chunk)
            count = min(sequence.pending, room, chunk.tokens)
            seconds = seconds - chunk.seconds * count / chunk.tokens if count < chunk.tokens else 0
        else:
            continue
        if count > 0:
            parts.append(Part(sequence, count))
            room -= count
    return parts
