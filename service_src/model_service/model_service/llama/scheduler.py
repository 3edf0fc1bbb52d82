"""Continuous batching: who waits, who has a slot, and what goes into the next step.

Each step carries one token of each generating sequence, then as much of the waiting prompts as fits.
One thread only; it reports through ``outbox``, which its owner empties after each step.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from model_service.engine import (
    Delta,
    EngineError,
    Event,
    FinishReason,
    GenerationFailedError,
    OverloadedError,
    Started,
)
from model_service.llama.bindings import llama
from model_service.llama.context import Context, ContextSize
from model_service.llama.model import Model
from model_service.llama.sampler import build_chain
from model_service.llama.sequence import Sequence

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """What one sequence contributes to a step."""

    sequence: Sequence
    tokens: list[int]

    @property
    def completes_prompt(self) -> bool:
        return self.sequence.computed + len(self.tokens) >= len(self.sequence.prompt)


class Scheduler:
    """The sequences of one context."""

    def __init__(
        self,
        model: Model,
        size: ContextSize,
        queue_timeout_seconds: float,
        make_context: Callable[[], Context],
    ) -> None:
        self._model = model
        self._size = size
        self._queue_timeout_seconds = queue_timeout_seconds
        self._make_context = make_context
        self._context = make_context()
        self._free_slots = list(reversed(range(size.slots)))
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []  # in the order of admission
        self.outbox: list[tuple[Sequence, Event | EngineError]] = []
        self.slot_seconds = 1.0  # a moving average of how long a request holds its slot

    @property
    def has_work(self) -> bool:
        return bool(self._waiting or self._running)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def kv_tokens(self) -> int:
        """Tokens in the KV cache. Safe to read from another thread, as is ``running``."""
        return sum(sequence.computed for sequence in tuple(self._running))

    def add(self, sequence: Sequence) -> None:
        self._waiting.append(sequence)

    def cancel(self, sequence: Sequence) -> None:
        """Frees the sequence's slot, or its place in the queue; nothing if it has ended."""
        if sequence in self._running:
            self._release(sequence)
        elif sequence in self._waiting:
            self._waiting.remove(sequence)

    def end_all(self, error: EngineError) -> None:
        """Ends all requests without touching the context, which may be lost."""
        self.outbox += [(sequence, error) for sequence in (*self._running, *self._waiting)]
        self._running.clear()
        self._waiting.clear()

    def step(self) -> None:
        """Computes one batch and hands out its tokens."""
        self._expire()
        self._admit()
        parts = self._next_parts()
        if parts:
            self._compute(parts)

    def warm_up(self) -> None:
        """One token, so that the first request doesn't wait for the weights to be read from disk."""
        self._context.clear_batch()
        self._context.add(slot=0, position=0, tokens=[0], wants_logits=True)
        self._context.decode()
        self._context.clear_slot(0)

    def close(self) -> None:
        self._context.close()

    def _expire(self) -> None:
        deadline = time.perf_counter() - self._queue_timeout_seconds
        while self._waiting and self._waiting[0].submitted_at < deadline:
            message = f"No slot became free within {self._queue_timeout_seconds:g} s; try again later"
            error = OverloadedError("queue_timeout", message, retry_after=max(1, round(self.slot_seconds)))
            self.outbox.append((self._waiting.popleft(), error))

    def _admit(self) -> None:
        while self._waiting and self._free_slots:
            sequence = self._waiting.popleft()
            sequence.slot = self._free_slots.pop()
            sequence.sampler = build_chain(sequence.request.sampling, self._model.vocab_size, self._size.context)
            sequence.started_at = time.perf_counter()
            self._running.append(sequence)
            queued_seconds = sequence.started_at - sequence.submitted_at
            self.outbox.append((sequence, Started(len(sequence.prompt), queued_seconds)))

    def _next_parts(self) -> list[Part]:
        parts = [Part(each, [each.next_token]) for each in self._running if not each.is_prefilling]
        room = self._size.step_tokens - len(parts)
        for sequence in self._running:
            if sequence.is_prefilling and room > 0:
                tokens = sequence.prompt[sequence.computed : sequence.computed + room]
                parts.append(Part(sequence, tokens))
                room -= len(tokens)
        return parts

    def _compute(self, parts: list[Part]) -> None:
        self._context.clear_batch()
        indexes = [
            self._context.add(
                part.sequence.slot, part.sequence.computed, part.tokens, wants_logits=part.completes_prompt
            )
            for part in parts
        ]
        status = self._context.decode()
        if status < -1:
            self._replace_context(status)
        elif status != 0 and len(parts) > 1:
            for part in parts:  # the context is as before: whoever is at fault fails alone
                self._compute([part])
        elif status != 0:
            self._fail(parts[0].sequence, f"llama_decode returned {status}")
        else:
            for part, index in zip(parts, indexes, strict=True):
                self._advance(part, index)

    def _advance(self, part: Part, index: int) -> None:
        sequence = part.sequence
        wants_token = part.completes_prompt
        sequence.computed += len(part.tokens)
        if not wants_token:
            return
        token = self._context.sample(sequence.sampler, index)
        now = time.perf_counter()
        sequence.generated += 1
        if sequence.generated == 1:
            sequence.first_token_at = now
        text, reason = self._text_of(sequence, token)
        self.outbox.append((sequence, Delta(text)))
        if reason is None:
            sequence.next_token = token
        else:
            self.outbox.append((sequence, sequence.finished(reason, now)))
            self.slot_seconds += 0.1 * (now - sequence.started_at - self.slot_seconds)
            self._release(sequence)

    def _text_of(self, sequence: Sequence, token: int) -> tuple[str, FinishReason | None]:
        if self._model.ends_generation(token):
            return sequence.text.finish(), "stop"
        text, stopped = sequence.text.feed(self._model.piece(token))
        if stopped:
            return text, "stop"
        if sequence.generated >= sequence.max_tokens:
            return text + sequence.text.finish(), "length"
        return text, None

    def _fail(self, sequence: Sequence, reason: str) -> None:
        log.error("request failed", extra={"reason": reason, "prompt_tokens": len(sequence.prompt)})
        self._release(sequence)
        error = GenerationFailedError("The model could not compute this request; the service's log says why")
        self.outbox.append((sequence, error))

    def _replace_context(self, status: int) -> None:
        """A fatal decode error leaves nothing to rely on: what ran fails, what waits goes on."""
        log.error("context lost", extra={"llama_decode": status, "running": len(self._running)})
        for sequence in tuple(self._running):
            self._fail(sequence, f"llama_decode returned {status}")
        self._context.close()
        self._context = self._make_context()

    def _release(self, sequence: Sequence) -> None:
        self._running.remove(sequence)
        self._context.clear_slot(sequence.slot)
        self._free_slots.append(sequence.slot)
        llama.llama_sampler_free(sequence.sampler)
        sequence.sampler = None
