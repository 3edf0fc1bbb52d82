"""What a sequence begins with, and what it contributes to a step."""

from __future__ import annotations

from dataclasses import dataclass

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
