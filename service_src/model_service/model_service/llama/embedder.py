"""Embeddings: a second llama.cpp context of the engine's model, computed in small batches between the engine's steps.

The model's last hidden states are pooled here, so that an input can be computed in as many parts as the time allows;
llama.cpp pools what is in one batch only. One thread only; it reports through ``outbox``, as the scheduler does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy
from numpy.typing import NDArray

from model_service.engine import Embeddings, EngineError, GenerationFailedError, OverloadedError
from model_service.llama.bindings import llama
from model_service.llama.context import KV_TYPES, ContextSize
from model_service.llama.model import Model, ModelError

log = logging.getLogger(__name__)

# llama.cpp keeps the logits of all of a batch's tokens too, though nobody asks for them: megabytes each.
BATCH_TOKENS = 128
_BATCH_INPUTS = 32
# How long a step may take while others generate: a stream stutters no more than by a token or two.
_BUSY_SECONDS = 0.05
_LEAST_TOKENS = 8
_WEIGHT = 0.3

Vector = NDArray[numpy.float32]


@dataclass(slots=True, eq=False)
class EmbeddingJob:
    """One request's inputs, each a list of tokens. The engine's thread owns it, save ``done``."""

    inputs: Sequence[Sequence[int]]
    done: asyncio.Future[Embeddings]
    vectors: list[list[float]] = field(init=False)
    tokens: int = field(init=False)
    added_at: float = 0.0
    begun: int = 0
    ended: int = 0

    def __post_init__(self) -> None:
        self.vectors = [[] for _ in self.inputs]
        self.tokens = sum(len(tokens) for tokens in self.inputs)

    @property
    def embeddings(self) -> Embeddings:
        return Embeddings(self.vectors, self.tokens)

    def tokens_beside(self, inputs: int) -> float:
        """About how many of its tokens are computed while a job of so many inputs is: jobs take turns by the input."""
        return min(len(self.inputs) - self.ended, inputs) * self.tokens / len(self.inputs)


@dataclass(slots=True, eq=False)
class _Input:
    """An input that is being computed; ``pooled`` is the sum of its hidden states, or the one that counts."""

    job: EmbeddingJob
    index: int
    sequence: int
    pooled: Vector
    computed: int = 0

    @property
    def tokens(self) -> Sequence[int]:
        return self.job.inputs[self.index]


@dataclass(frozen=True, slots=True)
class _Part:
    input: _Input
    start: int
    count: int


class Embedder:
    """The embeddings of one model. Its context is made with the first job.

    A job that nobody has begun with after ``longest_wait_seconds`` ends with an OverloadedError.
    """

    def __init__(self, model: Model, size: ContextSize, longest_wait_seconds: float) -> None:
        self._model = model
        self._size = size
        self._longest_wait_seconds = longest_wait_seconds
        self._pooling = _pooling_of(model)
        self.width: int = llama.llama_model_n_embd_out(model.handle)
        self._context: _Context | None = None
        self._jobs: deque[EmbeddingJob] = deque()  # that have inputs nobody has begun with
        self._begun: list[_Input] = []  # at most the last one has tokens left between two steps
        self._free = list(range(_BATCH_INPUTS))
        self._token_seconds = 0.0
        self._stepped_at = 0.0  # 0 if there was nothing to do since
        self._last_tokens = self._last_seconds = 0.0  # of the last steps, from the end of one to the end of the next
        self.outbox: list[tuple[EmbeddingJob, Embeddings | EngineError]] = []

    @property
    def has_work(self) -> bool:
        return bool(self._jobs or self._begun)

    @property
    def seconds_per_token(self) -> float:
        """Of late, on the clock, whatever else was computed meanwhile; 0 as long as it isn't known."""
        return self._last_seconds / self._last_tokens if self._last_tokens else 0.0

    def add(self, job: EmbeddingJob) -> None:
        if not self.has_work:
            self._stepped_at = 0.0
        job.added_at = time.perf_counter()
        self._jobs.append(job)

    def cancel(self, job: EmbeddingJob) -> None:
        """Forgets the job; nothing if it has ended."""
        if job in self._jobs:
            self._jobs.remove(job)
        for each in [each for each in self._begun if each.job is job]:
            self._release(each)

    def end_all(self, error: EngineError) -> None:
        """Ends all jobs."""
        jobs = {id(job): job for job in (*self._jobs, *(each.job for each in self._begun))}
        for job in jobs.values():
            self.cancel(job)
            self.outbox.append((job, error))

    def step(self, *, busy: bool) -> None:
        """Computes one batch, a small one if others are ``busy`` generating."""
        self._expire()
        parts = self._next_parts(self._room(busy))
        if not parts:
            return
        if self._context is None:
            try:
                self._context = _Context(self._model, self._size)
            except ModelError as error:
                self.end_all(GenerationFailedError(str(error)))
                return
        started = time.perf_counter()
        self._compute(parts, self._context)
        ended, tokens = time.perf_counter(), sum(part.count for part in parts)
        token_seconds = (ended - started) / tokens
        before = self._token_seconds or token_seconds
        self._token_seconds = before + _WEIGHT * (token_seconds - before)
        self._last_tokens += tokens - _WEIGHT * self._last_tokens
        self._last_seconds += ended - (self._stepped_at or started) - _WEIGHT * self._last_seconds
        self._stepped_at = ended

    def close(self) -> None:
        if self._context is not None:
            self._context.close()
            self._context = None

    def _expire(self) -> None:
        long_ago = time.perf_counter() - self._longest_wait_seconds
        for job in [each for each in self._jobs if not each.begun and each.added_at < long_ago]:
            self._jobs.remove(job)
            message = f"No input was begun with within {self._longest_wait_seconds:g} s; try again later"
            self.outbox.append((job, OverloadedError("queue_timeout", message, retry_after=1)))

    def _room(self, busy: bool) -> int:
        most = min(BATCH_TOKENS, self._size.step_tokens)
        if not busy:
            return most
        if not self._token_seconds:
            return min(most, _LEAST_TOKENS)
        return max(_LEAST_TOKENS, min(most, int(_BUSY_SECONDS / self._token_seconds)))

    def _next_parts(self, room: int) -> list[_Part]:
        """What is begun first, then an input of each job in turn."""
        parts = [_Part(each, each.computed, min(room, len(each.tokens) - each.computed)) for each in self._begun]
        room -= sum(part.count for part in parts)
        while room > 0 and self._jobs and self._free:
            job = self._jobs.popleft()
            pooled = numpy.zeros(self.width, dtype=numpy.float32)
            each = _Input(job, job.begun, self._free.pop(), pooled)
            job.begun += 1
            if job.begun < len(job.inputs):
                self._jobs.append(job)
            self._begun.append(each)
            parts.append(_Part(each, 0, min(room, len(each.tokens))))
            room -= parts[-1].count
        return parts

    def _compute(self, parts: list[_Part], context: _Context) -> None:
        status = context.decode(parts)
        if status < -1:
            log.error("embedding context lost", extra={"llama_decode": status})
            self.close()
            for part in parts:
                self._fail(part.input, status)
        elif status != 0 and len(parts) > 1:
            for part in parts:  # whoever is at fault fails alone
                if self._context is not None and part.input in self._begun:
                    self._compute([part], self._context)
        elif status != 0:
            self._fail(parts[0].input, status)
        else:
            rows, at = context.hidden_states(sum(part.count for part in parts), self.width), 0
            for part in parts:
                self._advance(part, rows[at : at + part.count])
                at += part.count

    def _advance(self, part: _Part, rows: Vector) -> None:
        each = part.input
        if self._pooling == llama.LLAMA_POOLING_TYPE_MEAN:
            each.pooled += rows.sum(axis=0)
        elif self._pooling == llama.LLAMA_POOLING_TYPE_LAST or part.start == 0:
            each.pooled[:] = rows[-1] if self._pooling == llama.LLAMA_POOLING_TYPE_LAST else rows[0]
        each.computed += part.count
        if each.computed < len(each.tokens):
            return
        if each not in self._begun:
            return  # another input of its job has failed meanwhile
        length = float(numpy.linalg.norm(each.pooled))
        if not numpy.isfinite(length) or length == 0:
            self._fail(each, 0)
            return
        job = each.job
        job.vectors[each.index] = (each.pooled / length).tolist()
        job.ended += 1
        self._release(each)
        if job.ended == len(job.inputs):
            self.outbox.append((job, job.embeddings))

    def _fail(self, failed: _Input, status: int) -> None:
        if failed not in self._begun:
            return
        log.error("embedding failed", extra={"llama_decode": status, "tokens": len(failed.tokens)})
        self.cancel(failed.job)
        error = GenerationFailedError("The model could not compute this embedding; the service's log says why")
        self.outbox.append((failed.job, error))

    def _release(self, each: _Input) -> None:
        self._begun.remove(each)
        self._free.append(each.sequence)
        if self._context is not None:
            self._context.forget(each.sequence)


class _Context:
    """A llama.cpp context that gives the hidden state of each token."""

    def __init__(self, model: Model, size: ContextSize) -> None:
        params = llama.llama_context_default_params()
        params.embeddings = True
        params.pooling_type = llama.LLAMA_POOLING_TYPE_NONE
        # One long input that is computed in parts, and a batch of short ones beside it.
        params.n_ctx = size.context + BATCH_TOKENS
        params.n_seq_max = _BATCH_INPUTS
        params.kv_unified = True
        params.n_batch = params.n_ubatch = params.n_outputs_max = BATCH_TOKENS
        params.type_k = params.type_v = KV_TYPES[size.kv_type]
        params.n_threads = params.n_threads_batch = size.threads
        params.no_perf = True
        self._handle = llama.llama_init_from_model(model.handle, params)
        if not self._handle:
            raise ModelError(f"llama.cpp cannot make a context of {params.n_ctx} tokens for embeddings")
        self._memory = llama.llama_get_memory(self._handle)
        self._batch = llama.llama_batch_init(BATCH_TOKENS, 0, 1)

    def decode(self, parts: list[_Part]) -> int:
        """llama_decode's own status: 0 is good, below -1 the context is lost."""
        batch, index = self._batch, 0
        for part in parts:
            for position in range(part.start, part.start + part.count):
                batch.token[index] = part.input.tokens[position]
                batch.pos[index] = position
                batch.n_seq_id[index] = 1
                batch.seq_id[index][0] = part.input.sequence
                batch.logits[index] = True
                index += 1
        batch.n_tokens = index
        status: int = llama.llama_decode(self._handle, batch)
        return status

    def hidden_states(self, count: int, width: int) -> Vector:
        """Those of the batch's tokens in its order, good until the next decode."""
        return numpy.ctypeslib.as_array(llama.llama_get_embeddings(self._handle), shape=(count, width))

    def forget(self, sequence: int) -> None:
        llama.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def close(self) -> None:
        llama.llama_batch_free(self._batch)
        llama.llama_free(self._handle)


def _pooling_of(model: Model) -> int:
    """What the model's file asks for: the mean of all tokens, the first or the last; without a word the mean."""
    architecture = model.metadata("general.architecture")
    asked = model.metadata(f"{architecture}.pooling_type")
    kinds: tuple[int, ...] = (llama.LLAMA_POOLING_TYPE_CLS, llama.LLAMA_POOLING_TYPE_LAST)
    found = next((kind for kind in kinds if asked == str(kind)), llama.LLAMA_POOLING_TYPE_MEAN)
    return int(found)
