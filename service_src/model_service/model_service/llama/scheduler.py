"""Continuous batching: who has a slot, and what goes into the next step.

Steps take turns: one token of each generating sequence, then of the prompts what ``Pace`` says. Apart, since attention
over many tokens of one sequence and over one token of many are two ways of llama.cpp's, and a batch with both takes
longer than the two. One thread only; it reports through ``outbox``, which its owner empties.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy

from model_service.engine import (
    Delta,
    EngineError,
    Event,
    GenerationFailedError,
    InvalidRequestError,
    OverloadedError,
    Started,
)
from model_service.llama.context import ABORTED, Context, ContextSize
from model_service.llama.counters import Counters
from model_service.llama.holding_times import HoldingTimes
from model_service.llama.kv_cache import SplitCache
from model_service.llama.model import Model
from model_service.llama.pace import Chunk, Pace
from model_service.llama.part import Beginning, Part, prompt_parts
from model_service.llama.prefix_store import BLOCK_TOKENS, PrefixStore
from model_service.llama.prefix_tree import PrefixTree
from model_service.llama.sampler import Candidates, Sampler, SamplingError, logprobs_of
from model_service.llama.sequence import Sequence, Tokens
from model_service.llama.slots import Slots
from model_service.llama.waiting import WaitingQueue, longest_wait_seconds

log = logging.getLogger(__name__)

# Cells that each running sequence should find free, so that it isn't paused as soon as it has begun.
_GROWTH = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """The longest wait for a slot, and the room for what ended sequences had computed."""

    queue_timeout_seconds: float
    prefix_store_bytes: int


class Scheduler:
    """The sequences of one context."""

    def __init__(self, model: Model, size: ContextSize, limits: Limits, make_context: Callable[[], Context]) -> None:
        self._model = model
        self._size = size
        self._make_context = make_context
        self._context = make_context()
        self._candidates = Candidates(model.vocab_size)
        self._slots = Slots(size.slots)
        self._waiting = WaitingQueue(limits.queue_timeout_seconds)
        self._limits = limits
        self._running: list[Sequence] = []  # in the order of admission
        self._tree = PrefixTree(lambda source, heir, length: self._context.cache.share(source.slot, heir.slot, length))
        self._store = PrefixStore(limits.prefix_store_bytes if model.shares_prefixes else 0)
        self._pace = Pace(size.step_tokens)
        self._adapter: str | None = None
        self._decoded_last: set[str | None] = set()  # adapters, each of which has turns of its own
        self._was_aborted = False
        self.prefilling: tuple[Sequence, ...] = ()  # of the step that runs; read by the event loop
        self.outbox: list[tuple[Sequence, Event | EngineError]] = []
        self.counters = Counters()
        self.holding_times = HoldingTimes()

    @property
    def has_work(self) -> bool:
        return bool(self._waiting or self._running)

    @property
    def running(self) -> tuple[Sequence, ...]:
        """Safe to read from another thread, as are ``kv_tokens`` and ``counters``."""
        return tuple(self._running)

    @property
    def kv_tokens(self) -> int:
        """Tokens in the KV cache, shared ones once."""
        return self._tree.cells

    @property
    def stored_bytes(self) -> int:
        return self._store.bytes

    def add(self, sequence: Sequence) -> None:
        self._waiting.add(sequence)

    def cancel(self, sequence: Sequence) -> None:
        """Frees the sequence's slot, or its place in the queue; nothing if it has ended."""
        if sequence in self._running:
            self._release(sequence)
            sequence.close()
        elif sequence in self._waiting:
            self._waiting.remove(sequence)
            sequence.close()

    def abort_if_unwanted(self) -> None:
        """From the event loop: ends the step that runs if all prompts in it have been cancelled meanwhile."""
        prefilling = self.prefilling
        if prefilling and all(each.is_cancelled for each in prefilling):
            self._context.abort()

    def end_all(self, error: EngineError) -> None:
        """Ends all requests without touching the context, which may be lost."""
        begun = [sequence for sequence in self._running if not sequence.has_ended]
        self.outbox += [(sequence, error) for sequence in (*begun, *self._waiting)]
        self._running.clear()
        for sequence in tuple(self._waiting):
            self._waiting.remove(sequence)

    @property
    def is_steady(self) -> bool:
        """Whether ``prepare`` takes next to no time: nobody's state has to be copied."""
        has_copies = any(each.has_ended or each.waits_for_prefix for each in self._running)
        return not (has_copies or (self._waiting and self._slots))

    def prepare(self) -> list[Part]:
        """Who leaves, who begins, and what the next step computes."""
        for sequence in [each for each in self._running if each.has_ended]:
            self._release(sequence)  # only now: nobody should wait for a last token until it is saved what led to it
        self._expire()
        self._admit()
        for sequence in self._running:
            self._tree.advance(sequence)
        return self._next_parts()

    def compute(self, parts: list[Part]) -> None:
        """Computes what ``prepare`` has just said; its tokens are then in ``outbox``."""
        suspects = [part for part in parts if part.sequence.is_suspect]
        others = [part for part in parts if not part.sequence.is_suspect]
        for group in (others, *([part] for part in suspects)):
            still_there = [part for part in group if part.sequence in self._running]
            if still_there:
                self._compute(still_there)

    def warm_up(self) -> None:
        """One step, so that the first request doesn't wait for the weights to be read; its time is a first measure."""
        tokens = [0] * min(32, self._size.step_tokens)
        for _ in range(2):
            self._context.clear_batch()
            self._context.add(slot=0, position=0, tokens=tokens, wants_logits=True)
            started = time.perf_counter()
            self._context.decode()
            seconds = time.perf_counter() - started
            self._context.cache.clear(0)
        self._pace.prefilled(len(tokens), seconds)

    def close(self) -> None:
        self._context.close()

    def _expire(self) -> None:
        for sequence in self._waiting.expired(time.perf_counter()):
            waited = longest_wait_seconds(sequence.request.priority, self._limits.queue_timeout_seconds)
            message = f"No slot became free within {waited:g} s; try again later"
            error = OverloadedError("queue_timeout", message, retry_after=max(1, round(self.holding_times.mean)))
            self.outbox.append((sequence, error))

    def _admit(self) -> None:
        while self._waiting:
            sequence = self._waiting.first
            if self._slots:
                beginning = self._beginning(sequence)
                if self._has_room(len(sequence.tokens) - beginning.shared):
                    self._waiting.remove(sequence)
                    self._start(sequence, beginning)
                    continue
            if not self._make_way(sequence):
                return

    def _has_room(self, tokens: int) -> bool:
        if self._context.cache.is_split:
            return True  # its slot has room for the longest
        growth = _GROWTH * (len(self._running) + 1)
        return not self._running or self._tree.cells_promised + tokens + growth <= self._size.kv_tokens

    def _make_way(self, sequence: Sequence) -> bool:
        """Pauses the youngest batch sequence for an interactive one; False if there is none."""
        now = time.perf_counter()
        yielding = [each for each in self._running if self._waiting.yields(each, now)]
        if not yielding or self._waiting.yields(sequence, now):
            return False
        self._pause(max(yielding, key=self._waiting.rank))
        return True

    def _beginning(self, sequence: Sequence) -> Beginning:
        if not self._model.shares_prefixes:
            return Beginning()
        source, shared = self._tree.match(sequence)
        stored = self._store.known_length(sequence, _array(sequence.tokens[:-1]))
        if source is None or stored <= shared:
            return Beginning(source, shared, stored if source is None else 0)
        # The store goes on at a block's border, and at once; a cache that copies anyway has all of it from there.
        shared = 0 if self._context.cache.is_split else min(shared, source.computed) // BLOCK_TOKENS * BLOCK_TOKENS
        return Beginning(source if shared else None, shared, stored)

    def _start(self, sequence: Sequence, beginning: Beginning) -> None:
        is_new = not sequence.started_at
        if is_new:
            try:
                sequence.sampler = Sampler(sequence.request.sampling, self._model, self._size.context, self._candidates)
            except InvalidRequestError as error:
                self.outbox.append((sequence, error))
                return
            sequence.started_at = time.perf_counter()
        self._slots.take(sequence)
        sequence.last_chunk = None
        self._running.append(sequence)
        self._tree.add(sequence, beginning.source, beginning.shared)
        if beginning.stored > beginning.shared:
            self._tree.advance(sequence)
            before = _array(sequence.tokens[: beginning.stored])
            sequence.computed += self._store.restore(self._context.cache, sequence, before, beginning.shared)
        if is_new:
            sequence.cached = sequence.computed
            cached = max(sequence.computed, beginning.shared)
            queued_seconds = sequence.started_at - sequence.submitted_at
            sequence.start = Started(len(sequence.prompt), cached, queued_seconds)

    def _next_parts(self) -> list[Part]:
        ready = self._of_one_adapter([each for each in self._running if not each.waits_for_prefix])
        decoding = [each for each in ready if each.is_decoding]
        while len(decoding) > self._free_cells and len(self._running) > 1:
            youngest = self._pause_youngest()
            ready = [each for each in ready if each is not youngest and not each.waits_for_prefix]
            decoding = [each for each in ready if each.is_decoding]
        if not decoding or self._adapter in self._decoded_last:
            prefilling = [each for each in ready if not each.is_decoding]
            room = min(self._size.step_tokens, self._free_cells - len(decoding))
            self._decoded_last.discard(self._adapter)
            parts = prompt_parts(prefilling, len(decoding), room, self._pace)
            if parts:
                return parts
        if not decoding and len(self._running) > 1:
            self._pause_youngest()  # no cell is free for any of them
            return self._next_parts()
        self._decoded_last.add(self._adapter)
        if isinstance(self._context.cache, SplitCache):
            self._slots.close_gaps(decoding, self._running, self._context.cache.exchange)
        return [Part(each, 1) for each in sorted(decoding, key=lambda each: each.slot)]

    def _of_one_adapter(self, ready: list[Sequence]) -> list[Sequence]:
        """llama.cpp computes a batch with one adapter: each step takes the next one that has work."""
        adapters = sorted({each.request.adapter for each in ready}, key=lambda name: name or "")
        if adapters:
            later = [each for each in adapters if (each or "") > (self._adapter or "")]
            self._adapter = (later or adapters)[0]
        return [each for each in ready if each.request.adapter == self._adapter]

    @property
    def _free_cells(self) -> int:
        return self._size.kv_tokens - self._tree.cells

    def _compute(self, parts: list[Part]) -> None:
        self._context.use_adapter(self._adapter)
        self._context.clear_batch()
        indexes = [
            self._context.add(part.sequence.slot, part.sequence.computed, part.tokens, wants_logits=part.is_whole)
            for part in parts
        ]
        is_decoding = parts[0].sequence.is_decoding
        # Who hangs up again and again must not keep the others from getting on.
        is_abortable = not (is_decoding or self._was_aborted)
        self.prefilling = tuple(part.sequence for part in parts) if is_abortable else ()
        started = time.perf_counter()
        status = self._context.decode()
        seconds = time.perf_counter() - started
        self.prefilling = ()
        self.counters.decode_seconds += seconds
        self._was_aborted = status == ABORTED
        if status == 0:
            if is_decoding:
                self._pace.decoded(len(parts), seconds)
            else:
                tokens = sum(part.count for part in parts)
                self.counters.prompt_tokens += tokens
                if all(part.sequence.last_chunk is None for part in parts):
                    self._pace.prefilled(tokens, seconds)
                for part in parts:
                    part.sequence.last_chunk = Chunk(part.count, seconds * part.count / tokens)
            for part, index in zip(parts, indexes, strict=True):
                self._advance(part, index)
            self.counters.sample_seconds += time.perf_counter() - started - seconds
        elif status == ABORTED:
            for part in parts:
                self._context.cache.truncate(part.sequence.slot, part.sequence.computed)
        elif status < -1:
            self._replace_context(parts, status)
        elif len(parts) > 1:
            for part in parts:  # the context is as before: whoever is at fault fails alone
                if part.sequence in self._running:
                    self._compute([part])
        else:
            self._fail(parts[0].sequence, f"llama_decode returned {status}")

    def _advance(self, part: Part, index: int) -> None:
        sequence = part.sequence
        sequence.computed += part.count
        if sequence.pending:
            return
        assert sequence.sampler is not None
        logits = self._context.logits(index)
        try:
            token = sequence.sampler.choose(logits)
        except SamplingError as error:
            self._fail(sequence, str(error))
            return
        now = time.perf_counter()
        sequence.generated += 1
        if sequence.generated == 1:
            sequence.first_token_at = now
            assert sequence.start is not None
            self.outbox.append((sequence, sequence.start))
        text, reason = sequence.text_of(None if token in self._model.end_tokens else self._model.piece(token))
        top = sequence.request.top_logprobs
        logprobs = None if top is None else logprobs_of(logits, token, top, self._model.piece)
        self.outbox.append((sequence, Delta(text, logprobs)))
        sequence.tokens.append(token)
        if reason is not None:
            self.outbox.append((sequence, sequence.finished(reason, now)))
            self.holding_times.add(now - sequence.started_at)
            sequence.has_ended = True
            sequence.close()

    def _pause_youngest(self) -> Sequence:
        youngest = max(self._running, key=self._waiting.rank)
        self._pause(youngest)
        return youngest

    def _pause(self, sequence: Sequence) -> None:
        """Takes the slot of a sequence, which goes on where it was once there is room again."""
        log.info("sequence paused", extra={"computed": sequence.computed, "running": len(self._running)})
        self.counters.paused += 1
        self._release(sequence)
        self._waiting.add(sequence)

    def _fail(self, sequence: Sequence, reason: str) -> None:
        log.error("request failed", extra={"reason": reason, "prompt_tokens": len(sequence.prompt)})
        self.counters.failed += 1
        self._release(sequence, keep=False)
        sequence.close()
        error = GenerationFailedError("The model could not compute this request; the service's log says why")
        self.outbox.append((sequence, error))

    def _replace_context(self, parts: list[Part], status: int) -> None:
        """A fatal decode error leaves nothing to rely on. Who has sent nothing yet starts again, but only once."""
        log.error("context lost", extra={"llama_decode": status, "running": len(self._running)})
        self.counters.contexts_lost += 1
        for part in parts:
            part.sequence.lost_contexts += 1
        self._context.close()
        self._context = self._make_context()
        self._tree.clear()
        for sequence in tuple(self._running):
            self._running.remove(sequence)
            self._slots.give_back(sequence)
            if sequence.has_ended:
                continue
            if sequence.generated or sequence.lost_contexts > 1:
                self.counters.failed += 1
                sequence.close()
                message = "The model's state was lost while it computed this request; try again"
                self.outbox.append((sequence, GenerationFailedError(message)))
            else:
                self._waiting.add(sequence)

    def _release(self, sequence: Sequence, *, keep: bool = True) -> None:
        """Gives back slot and cells; with ``keep``, what was computed goes to the store."""
        self._running.remove(sequence)
        if keep and self._limits.prefix_store_bytes and self._model.shares_prefixes:
            whole = sequence.computed // BLOCK_TOKENS * BLOCK_TOKENS
            self._store.save(self._context.cache, sequence, _array(sequence.tokens[:whole]))
        self._tree.remove(sequence)
        self._context.cache.clear(sequence.slot)
        self._slots.give_back(sequence)
        sequence.computed = 0


def _array(tokens: list[int]) -> Tokens:
    return numpy.array(tokens, dtype=numpy.int32)
