"""Engines that are loaded when they are asked for, and a model with one of its adapters as an engine of its own."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from model_service.engine import (
    Embeddings,
    Engine,
    EngineStats,
    Event,
    GenerationRequest,
    InvalidRequestError,
    ModelFacts,
    NotReadyError,
    SlotState,
)
from model_service.pool import Member, ModelPool


class ServedEngine(Engine, Protocol):
    """An engine whose model may have to be loaded first."""

    @property
    def status(self) -> str:
        """A :class:`model_service.pool.State`."""

    async def known(self) -> None:
        """Returns once there are ``facts``, for which the model is loaded if it never was."""


class PooledEngine:
    """An :class:`model_service.engine.Engine` of a pool: what needs the model has it loaded, and keeps it so.

    What is known of the model stays known when it is unloaded. ``chat_template`` replaces its own.
    """

    def __init__(self, pool: ModelPool, member: Member, slots: int, chat_template: str | None = None) -> None:
        self._pool = pool
        self._member = member
        self._slots = slots
        self._chat_template = chat_template
        self._facts: ModelFacts | None = None

    @property
    def status(self) -> str:
        return self._member.state.value

    async def known(self) -> None:
        if self._facts is None:
            async with self._pool.use(self._member) as engine:
                self._learn(engine)

    @property
    def facts(self) -> ModelFacts:
        if self._facts is None:
            if self._member.engine is None:
                raise NotReadyError("Not ready: the model is not loaded yet")
            self._learn(self._member.engine)
        assert self._facts is not None
        return self._facts

    def stats(self) -> EngineStats:
        engine = self._member.engine  # read once: metrics are scraped from other threads
        if engine is None:
            return EngineStats(slots=self._slots, running=0, waiting=self._member.waiting, kv_usage=0.0)
        stats = engine.stats()
        return replace(stats, waiting=stats.waiting + self._member.waiting)

    def slots(self) -> list[SlotState]:
        return [] if self._member.engine is None else self._member.engine.slots()

    async def tokenize(self, text: str) -> list[int]:
        async with self._pool.use(self._member) as engine:
            return await engine.tokenize(text)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        async with self._pool.use(self._member) as engine:
            return await engine.detokenize(tokens)

    async def submit(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        async with (
            self._pool.use(self._member) as engine,
            aclosing(engine.submit(request)) as events,
        ):
            async for event in events:
                yield event

    async def embed(self, inputs: Sequence[str | tuple[int, ...]]) -> Embeddings:
        async with self._pool.use(self._member) as engine:
            return await engine.embed(inputs)

    async def close(self) -> None:
        """The pool closes what it has loaded."""

    def _learn(self, engine: Engine) -> None:
        facts = engine.facts
        self._facts = replace(facts, chat_template=self._chat_template or facts.chat_template)


class AdaptedEngine:
    """A model with one of its LoRA adapters."""

    def __init__(self, engine: PooledEngine, adapter: str, adapter_digest: str) -> None:
        self._engine = engine
        self._adapter = adapter
        self._adapter_digest = adapter_digest

    @property
    def status(self) -> str:
        return self._engine.status

    async def known(self) -> None:
        await self._engine.known()

    @property
    def facts(self) -> ModelFacts:
        facts = self._engine.facts
        digest = hashlib.sha256(f"{facts.digest}+{self._adapter_digest}".encode()).hexdigest()
        return replace(facts, digest=digest)

    def stats(self) -> EngineStats:
        return self._engine.stats()

    def slots(self) -> list[SlotState]:
        return self._engine.slots()

    async def tokenize(self, text: str) -> list[int]:
        return await self._engine.tokenize(text)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        return await self._engine.detokenize(tokens)

    def submit(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        return self._engine.submit(replace(request, adapter=self._adapter))

    async def embed(self, inputs: Sequence[str | tuple[int, ...]]) -> Embeddings:
        raise InvalidRequestError("model", "Embeddings are computed without adapters; ask for the model itself")

    async def close(self) -> None:
        """The model's engine is the one to close."""
