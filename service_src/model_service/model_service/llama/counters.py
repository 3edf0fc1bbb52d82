"""What the engine's thread counts; anybody may read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from model_service.engine import StepPhase


@dataclass(slots=True)
class Counters:
    """Sums since the start. ``step_seconds`` holds all of a step, decode and sampling included.

    ``prompt_tokens`` are those computed, without those that another sequence had computed.
    """

    step_seconds: float = 0.0
    decode_seconds: float = 0.0
    sample_seconds: float = 0.0
    prompt_tokens: int = 0
    paused: int = 0
    failed: int = 0
    contexts_lost: int = 0

    @property
    def seconds_by_phase(self) -> Mapping[StepPhase, float]:
        decode, sample = self.decode_seconds, self.sample_seconds
        return {"decode": decode, "sample": sample, "other": max(0.0, self.step_seconds - decode - sample)}
