"""The engine's thread, and its bridge to the event loop."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable
from collections.abc import Sequence as Series
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from model_service.engine import (
    Embeddings,
    EngineError,
    EngineStats,
    Event,
    Finished,
    GenerationRequest,
    InvalidRequestError,
    ModelFacts,
    NotReadyError,
    OverloadedError,
    Priority,
    SlotState,
)
from model_service.llama.context import Context, ContextSize
from model_service.llama.embedder import Embedder, EmbeddingJob
from model_service.llama.model import Adapter, Model, ModelError, digest_of
from model_service.llama.native_log import NativeLog
from model_service.llama.sampler import check_grammar, check_logit_bias
from model_service.llama.scheduler import Limits, Scheduler
from model_service.llama.sequence import Sequence, Tokens
from model_service.llama.waiting import longest_wait_seconds, patience_seconds, rank

log = logging.getLogger(__name__)

_TOKENIZER_THREADS = 2
_LONGEST_RETRY_AFTER_SECONDS = 60
# The engine's thread has to get the interpreter's lock as soon as a decode has ended: for as long as the event loop
# keeps it, nothing is computed. Python's own 5 ms are more than half of a small model's step.
_SWITCH_SECONDS = 0.0005


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """``size.context`` is capped at what the model was trained for, and at ``size.kv_tokens``."""

    path: Path
    size: ContextSize
    queue_limit: int
    limits: Limits
    adapters: tuple[Adapter, ...] = ()
    gpu_layers: int = 0

    @property
    def capacity(self) -> int:
        """How many requests may be there at once, running and waiting."""
        return self.size.slots + self.queue_limit


class LlamaEngine:
    """An :class:`model_service.engine.Engine` that loads its model and computes in a thread of its own.

    ``on_fatal`` is called in that thread, with one line, when it cannot go on: the model can't be
    loaded, or the thread failed. The engine serves nothing after that.
    """

    def __init__(self, config: EngineConfig, native_log: NativeLog, on_fatal: Callable[[str], None]) -> None:
        self._config = config
        self._native_log = native_log
        self._on_fatal = on_fatal
        self._loop = asyncio.get_running_loop()
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._tokenizers = ThreadPoolExecutor(_TOKENIZER_THREADS, "tokenizer")
        self._in_flight: list[float] = []  # ranks of those submitted and not ended; the event loop's alone
        self._not_ready: str | None = "the model is loading"
        self._model: Model | None = None
        self._facts: ModelFacts | None = None
        self._scheduler: Scheduler | None = None
        self._embedder: Embedder | None = None
        self._embedding = 0  # requests for embeddings; the event loop's alone, as are their jobs
        self._embedding_jobs: list[EmbeddingJob] = []
        self._wake = threading.Condition()
        self._inbox: list[Callable[[Scheduler], None]] = []
        self._closing = False
        self._has_ended = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def facts(self) -> ModelFacts:
        if self._not_ready is not None or self._facts is None:
            raise NotReadyError(f"Not ready: {self._not_ready}")
        return self._facts

    def stats(self) -> EngineStats:
        size, scheduler = self._config.size, self._scheduler
        if scheduler is None:
            return EngineStats(size.slots, running=0, waiting=len(self._in_flight), kv_usage=0.0)
        running = len(scheduler.running)
        counters = scheduler.counters
        return EngineStats(
            slots=size.slots,
            running=running,
            waiting=max(0, len(self._in_flight) - running),
            kv_usage=scheduler.kv_tokens / size.kv_tokens,
            prefix_store_bytes=scheduler.stored_bytes,
            prompt_tokens_computed=counters.prompt_tokens,
            paused=counters.paused,
            failed=counters.failed,
            contexts_lost=counters.contexts_lost,
            step_seconds=counters.seconds_by_phase,
        )

    def slots(self) -> list[SlotState]:
        running = self._scheduler.running if self._scheduler else ()
        states = {each.slot: _state_of(each) for each in running}
        return [states.get(slot, SlotState(slot, "idle")) for slot in range(self._config.size.slots)]

    async def tokenize(self, text: str) -> list[int]:
        tokens: list[int] = (await self._tokens_of(text, self.facts.context)).tolist()
        return tokens

    async def detokenize(self, tokens: Series[int]) -> str:
        _ = self.facts
        assert self._model is not None
        checked = self._model.checked_tokens(tokens, sys.maxsize).tolist()
        return await self._loop.run_in_executor(self._tokenizers, self._model.detokenize, checked)

    async def submit(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        context = self.facts.context
        self._refuse_when_full(request.priority)
        own_rank = rank(request.priority, time.perf_counter(), self._config.limits.queue_timeout_seconds)
        self._in_flight.append(own_rank)
        try:
            prompt = await self._tokens_of(request.prompt, context)
            if not len(prompt):
                raise InvalidRequestError("prompt", "The prompt is empty: it has no tokens to go on from")
            _ = self.facts
            assert self._model is not None
            check_logit_bias(request.sampling, self._model)
            if request.sampling.grammar is not None:
                await self._loop.run_in_executor(self._tokenizers, check_grammar, request.sampling, self._model)
            room = context - len(prompt)
            max_tokens = room if request.max_tokens is None else min(room, request.max_tokens)
            sequence = Sequence(request, prompt, max_tokens, time.perf_counter())
            self._post(lambda scheduler: scheduler.add(sequence))
            try:
                while True:
                    event = await sequence.events.get()
                    if isinstance(event, EngineError):
                        raise event
                    yield event
                    if isinstance(event, Finished):
                        return
            finally:
                sequence.is_cancelled = True
                with suppress(NotReadyError):
                    self._post(lambda scheduler: scheduler.cancel(sequence))
                assert self._scheduler is not None
                self._scheduler.abort_if_unwanted()
        finally:
            self._in_flight.remove(own_rank)

    async def embed(self, inputs: Series[str | tuple[int, ...]]) -> Embeddings:
        context = self.facts.context
        if self._embedding >= self._config.capacity:
            message = f"{self._embedding} requests for embeddings wait already; try again later"
            raise OverloadedError("queue_full", message, retry_after=1)
        self._refuse_embeddings_in_vain(len(inputs))
        self._embedding += 1
        try:
            tokens = [(await self._tokens_of(each, context)).tolist() for each in inputs]
            if not all(tokens) or not tokens:
                raise InvalidRequestError("input", "An input is empty: it has no tokens to make a vector of")
            self._refuse_embeddings_in_vain(len(inputs))  # of those that came together some are there by now
            job = EmbeddingJob(tokens, self._loop.create_future())
            embedder = self._embedder
            assert embedder is not None
            self._post(lambda _: embedder.add(job))
            self._embedding_jobs.append(job)
            try:
                return await job.done
            finally:
                self._embedding_jobs.remove(job)
                with suppress(NotReadyError):
                    self._post(lambda _: embedder.cancel(job))
        finally:
            self._embedding -= 1

    async def _tokens_of(self, prompt: str | tuple[int, ...], limit: int) -> Tokens:
        assert self._model is not None
        if isinstance(prompt, str):
            return await self._loop.run_in_executor(self._tokenizers, self._model.tokenize, prompt, limit)
        return self._model.checked_tokens(prompt, limit)

    async def close(self) -> None:
        self._not_ready = "the service is stopping"
        await asyncio.to_thread(self._tokenizers.shutdown)  # they read the model that the thread frees
        with self._wake:
            self._closing = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)

    def _refuse_when_full(self, priority: Priority) -> None:
        """At once, rather than after a wait that is in vain."""
        slots, most_waiting = self._config.size.slots, self._config.queue_limit
        now, timeout = time.perf_counter(), self._config.limits.queue_timeout_seconds

        own_rank = rank(priority, now, timeout)
        place = sum(each <= own_rank for each in self._in_flight) - slots + 1  # in the queue, as far as it matters here
        if place <= 0:
            return
        assert self._scheduler is not None
        holding = self._scheduler.holding_times
        elapsed = [
            now - each.started_at
            for each in self._scheduler.running
            if rank(each.request.priority, each.submitted_at, timeout) <= own_rank  # others make room
        ]
        elapsed += [0.0] * (slots - len(elapsed))  # of those that are about to begin
        patience = patience_seconds(priority, timeout)
        if place > most_waiting:
            message = f"All {slots} slots are busy and {most_waiting} requests wait; try again later"
        elif place > holding.frees_within(patience, elapsed):
            message = f"All {slots} slots are busy, with none for this request within {patience:g} s; try again later"
        else:
            return
        retry_after = min(_LONGEST_RETRY_AFTER_SECONDS, max(1, round(holding.mean * place / slots)))
        raise OverloadedError("queue_full", message, retry_after=retry_after)

    def _refuse_embeddings_in_vain(self, inputs: int) -> None:
        """As above; what counts is how long others' inputs will be computed beside these."""
        assert self._embedder is not None
        tokens = sum(job.tokens_beside(inputs) for job in self._embedding_jobs)
        seconds = tokens * self._embedder.seconds_per_token
        patience = patience_seconds("interactive", self._config.limits.queue_timeout_seconds)
        if seconds > patience:
            held_up = f"Embeddings asked for before would hold this request up for {seconds:.0f} s"
            retry_after = min(_LONGEST_RETRY_AFTER_SECONDS, max(1, round(seconds - patience)))
            message = f"{held_up}, and {patience:g} s is the longest; try again later"
            raise OverloadedError("queue_full", message, retry_after=retry_after)

    def _post(self, command: Callable[[Scheduler], None]) -> None:
        with self._wake:
            if self._has_ended:
                raise NotReadyError(f"Not ready: {self._not_ready}")
            self._inbox.append(command)
            self._wake.notify()

    def _run(self) -> None:
        try:
            scheduler = self._load()
            embedder = self._embedder
            assert embedder is not None
            while self._take_commands(scheduler, embedder):
                started = time.perf_counter()
                if not scheduler.is_steady:
                    self._deliver(scheduler)
                parts = scheduler.prepare()
                # Right before llama.cpp, which needs no interpreter: whoever writes the tokens out has it meanwhile.
                self._deliver(scheduler)
                scheduler.compute(parts)
                scheduler.counters.step_seconds += time.perf_counter() - started
                if embedder.has_work:
                    self._deliver(scheduler)
                    embedder.step(busy=scheduler.has_work)
                    self._deliver_embeddings(embedder)
            self._end_requests("the service is stopping")
            embedder.close()
            scheduler.close()
            assert self._model is not None
            self._model.close()
        except Exception as error:
            if not isinstance(error, ModelError):
                log.exception("the engine's thread failed")
            self._end_requests(str(error))
            self._on_fatal(str(error))

    def _load(self) -> Scheduler:
        started = time.perf_counter()
        config = self._config
        model = Model(config.path, self._native_log, adapters=config.adapters, gpu_layers=config.gpu_layers)
        size = self._config.size
        context = min(size.context, model.trained_context, size.kv_tokens)
        if size.context > context:
            log.warning("context capped", extra={"asked": size.context, "context": context})
            kv_tokens = min(size.kv_tokens, size.slots * model.trained_context)
            size = replace(size, context=context, kv_tokens=kv_tokens)
            self._config = replace(self._config, size=size)
        make_context = partial(Context, model, size)
        scheduler = Scheduler(model, size, self._config.limits, make_context)
        scheduler.warm_up()
        self._model = model
        self._scheduler = scheduler
        longest_wait = longest_wait_seconds("interactive", self._config.limits.queue_timeout_seconds)
        self._embedder = Embedder(model, size, longest_wait)
        self._facts = ModelFacts(
            digest=digest_of(self._config.path),
            context=size.context,
            chat_template=model.chat_template,
            bos_text=model.bos_text,
            eos_text=model.eos_text,
            adapters=tuple(model.adapters),
            capacity=self._config.capacity,
            embedding_length=self._embedder.width,
        )
        self._not_ready = None
        seconds = round(time.perf_counter() - started, 2)
        log.info("model loaded", extra={"path": str(self._config.path), "seconds": seconds})
        return scheduler

    def _take_commands(self, scheduler: Scheduler, embedder: Embedder) -> bool:
        """Waits until there is something to do; False when the engine is to end."""
        with self._wake:
            while not (self._inbox or self._closing or scheduler.has_work or scheduler.outbox or embedder.has_work):
                self._wake.wait()
            commands, self._inbox = self._inbox, []
        for command in commands:
            command(scheduler)
        return not self._closing

    def _deliver(self, scheduler: Scheduler) -> None:
        if scheduler.outbox:
            self._loop.call_soon_threadsafe(_put_events, scheduler.outbox)
            scheduler.outbox = []

    def _deliver_embeddings(self, embedder: Embedder) -> None:
        if embedder.outbox:
            self._loop.call_soon_threadsafe(_put_embeddings, embedder.outbox)
            embedder.outbox = []

    def _end_requests(self, reason: str) -> None:
        self._not_ready = reason
        with self._wake:
            self._has_ended = True
            commands, self._inbox = self._inbox, []
        if self._scheduler is None:
            return
        for command in commands:
            command(self._scheduler)
        self._scheduler.end_all(NotReadyError(f"Not ready: {reason}"))
        self._deliver(self._scheduler)
        if self._embedder is not None:
            self._embedder.end_all(NotReadyError(f"Not ready: {reason}"))
            self._deliver_embeddings(self._embedder)


def _put_embeddings(outbox: list[tuple[EmbeddingJob, Embeddings | EngineError]]) -> None:
    for job, outcome in outbox:
        if job.done.done():  # whoever asked is gone
            continue
        if isinstance(outcome, EngineError):
            job.done.set_exception(outcome)
        else:
            job.done.set_result(outcome)


def _put_events(outbox: list[tuple[Sequence, Event | EngineError]]) -> None:
    for sequence, event in outbox:
        sequence.events.put_nowait(event)


def _state_of(sequence: Sequence) -> SlotState:
    state: Literal["waiting_for_prefix", "decode", "prefill"] = "prefill"
    if sequence.waits_for_prefix:
        state = "waiting_for_prefix"
    elif sequence.generated:
        state = "decode"
    return SlotState(sequence.slot, state, len(sequence.prompt), sequence.computed, sequence.generated)
