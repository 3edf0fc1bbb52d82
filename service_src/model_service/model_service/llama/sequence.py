"""One request on its way through the engine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy
from numpy.typing import NDArray

from model_service.engine import EngineError, Event, Finished, FinishReason, GenerationRequest, Started
from model_service.llama.pace import Chunk
from model_service.llama.sampler import Sampler
from model_service.text import TextAssembler

Tokens = NDArray[numpy.int32]


@dataclass(slots=True, eq=False)
class Sequence:
    """A request's state. The engine's thread owns it, save ``events``, which the event loop reads.

    ``tokens`` are the prompt and what was generated; the first ``computed`` of them are in the KV cache. The first
    ``shared`` are the same as ``source``'s, in the same cells, or will be once ``source`` has computed them.
    """

    request: GenerationRequest
    prompt: Tokens
    max_tokens: int
    submitted_at: float
    events: asyncio.Queue[Event | EngineError] = field(default_factory=asyncio.Queue)
    text: TextAssembler = field(init=False)
    tokens: list[int] = field(init=False)
    slot: int = -1
    sampler: Sampler | None = None
    source: Sequence | None = None
    shared: int = 0
    computed: int = 0
    last_chunk: Chunk | None = None  # of its prompt, if it had a step for itself
    cached: int = 0  # prompt tokens that others had computed
    generated: int = 0
    started_at: float = 0.0  # 0: never had a slot
    start: Started | None = None  # sent with the first token: who fails before it has answered nothing yet
    first_token_at: float = 0.0
    is_cancelled: bool = False  # set by the event loop
    has_ended: bool = False  # has all its tokens, and still its slot
    lost_contexts: int = 0  # how often the context was lost while it was computed

    def __post_init__(self) -> None:
        self.text = TextAssembler(self.request.stop)
        self.tokens = self.prompt.tolist()

    @property
    def salt(self) -> tuple[str, str | None]:
        """Only sequences with the same one may share what they computed."""
        return self.request.tenant, self.request.adapter

    @property
    def pending(self) -> int:
        """Tokens to be computed before the next one can be sampled."""
        return len(self.tokens) - self.computed

    @property
    def is_decoding(self) -> bool:
        return self.generated > 0 and self.pending == 1

    @property
    def waits_for_prefix(self) -> bool:
        return self.computed < self.shared

    @property
    def is_suspect(self) -> bool:
        """Whether the context was lost over its prompt: nobody else should be computed with it."""
        return self.lost_contexts > 0 and not self.generated

    def text_of(self, piece: bytes | None) -> tuple[str, FinishReason | None]:
        """What a token adds to the answer's text, and why it is the last one; None is the model's own end."""
        if piece is None:
            return self.text.finish(), "stop"
        text, stopped = self.text.feed(piece)
        if stopped:
            return text, "stop"
        if self.generated >= self.max_tokens:
            return text + self.text.finish(), "length"
        return text, None

    def close(self) -> None:
        """Frees the sampler, which is llama.cpp's."""
        if self.sampler is not None:
            self.sampler.close()
            self.sampler = None

    def finished(self, reason: FinishReason, now: float) -> Finished:
        return Finished(
            reason=reason,
            prompt_tokens=len(self.prompt),
            cached_tokens=self.cached,
            prompt_seconds=self.first_token_at - self.started_at,
            generated_tokens=self.generated,
            generation_seconds=now - self.first_token_at,
        )
