"""One request on its way through the engine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from model_service.engine import EngineError, Event, Finished, FinishReason, GenerationRequest
from model_service.text import TextAssembler


@dataclass(slots=True, eq=False)
class Sequence:
    """A request's state. The engine's thread owns it, save ``events``, which the event loop reads."""

    request: GenerationRequest
    prompt: list[int]
    max_tokens: int
    submitted_at: float
    events: asyncio.Queue[Event | EngineError] = field(default_factory=asyncio.Queue)
    text: TextAssembler = field(init=False)
    slot: int = -1
    sampler: Any = None
    computed: int = 0  # tokens in the KV cache
    generated: int = 0
    next_token: int = -1
    started_at: float = 0.0
    first_token_at: float = 0.0

    def __post_init__(self) -> None:
        self.text = TextAssembler(self.request.stop)

    @property
    def is_prefilling(self) -> bool:
        return self.computed < len(self.prompt)

    def finished(self, reason: FinishReason, now: float) -> Finished:
        return Finished(
            reason=reason,
            prompt_tokens=len(self.prompt),
            prompt_seconds=self.first_token_at - self.started_at,
            generated_tokens=self.generated,
            generation_seconds=now - self.first_token_at,
        )
