"""The models that share this process's memory: loaded when asked for, unloaded when another one needs the room.

A model in use is never unloaded. Where no room can be made, a request waits for a limited time; once the one that has
waited longest has spent half of its time, models that stand in its way take no new requests until it had its turn.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from model_service import pool_metrics
from model_service.engine import Engine, EngineError, OverloadedError

log = logging.getLogger(__name__)

# A model that could not be loaded is tried again after this, as the reason may have been a passing one.
RETRY_SECONDS = 60.0


class LoadError(Exception):
    """Why a model can't be loaded, in one line."""


class ModelFailedError(EngineError):
    """The model can't be loaded; the message says why."""


class NoRoomError(EngineError):
    """The model didn't get into memory in time; worth another try after ``retry_after`` seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Source(Protocol):
    """Where a model comes from."""

    name: str
    estimated_bytes: int

    async def measure(self) -> int:
        """The bytes it will take; LoadError if it can't be loaded. Cheap once it was done."""

    async def load(self) -> Engine:
        """An engine that is ready; raises LoadError."""


class State(Enum):
    UNLOADED = "unloaded"
    LOADING = "loading"
    LOADED = "loaded"
    UNLOADING = "unloading"
    FAILED = "failed"


@dataclass(eq=False)
class Member:
    """A model of the pool; ``bytes`` is what it takes, or will."""

    source: Source
    bytes: int
    state: State = State.UNLOADED
    engine: Engine | None = None
    failure: str = ""
    failed_at: float = 0.0
    users: int = 0
    last_used: float = 0.0
    waiting: int = 0
    yields: bool = False  # takes no new requests, for another model's turn

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def holds_memory(self) -> bool:
        return self.state in (State.LOADING, State.LOADED, State.UNLOADING)


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """``budget_bytes`` None keeps all models loaded; ``room_seconds`` is the longest wait for others to be unloaded."""

    budget_bytes: int | None
    room_seconds: float
    load_seconds: float
    queue_limit: int


@dataclass(eq=False)
class ModelPool:
    """Everything happens on the event loop; between two awaits nothing changes."""

    limits: PoolLimits
    members: dict[str, Member] = field(default_factory=dict)
    _turns: list[Member] = field(default_factory=list)  # that wait for room, the longest first
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _loads: set[asyncio.Task[None]] = field(default_factory=set)
    _unloads: set[asyncio.Task[None]] = field(default_factory=set)

    def add(self, source: Source) -> Member:
        member = self.members[source.name] = Member(source, source.estimated_bytes)
        pool_metrics.watch(source.name, member.bytes)
        pool_metrics.BUDGET.set(self.limits.budget_bytes or 0)
        return member

    def fail(self, member: Member, reason: str) -> None:
        """The model can't be loaded."""
        log.error("model failed", extra={"model": member.name, "reason": reason})
        pool_metrics.LOADS.labels(member.name, "failed").inc()
        member.state, member.failure, member.failed_at = State.FAILED, reason, time.monotonic()
        self._announce()

    async def load_first(self) -> None:
        """Loads one after the other in their order, those that have room side by side."""
        taken = 0
        for member in self.members.values():
            try:
                await self._measure(member)
                if self.limits.budget_bytes is None or taken + member.bytes <= self.limits.budget_bytes:
                    taken += member.bytes
                    async with self.use(member):
                        pass
            except LoadError as error:
                self.fail(member, str(error))
            except EngineError:
                continue  # the member says why

    @asynccontextmanager
    async def use(self, member: Member) -> AsyncGenerator[Engine, None]:
        """The model's engine, which stays loaded meanwhile."""
        engine = await self._acquire(member)
        try:
            yield engine
        finally:
            member.users -= 1
            member.last_used = time.monotonic()
            self._announce()

    async def close(self) -> None:
        """Ends what still loads or runs, and frees all models."""
        for task in self._loads:
            task.cancel()
        await asyncio.gather(*self._loads, *self._unloads, return_exceptions=True)
        engines = [member.engine for member in self.members.values() if member.engine is not None]
        await asyncio.gather(*(engine.close() for engine in engines))

    async def _acquire(self, member: Member) -> Engine:
        if member.waiting > self.limits.queue_limit and not self._is_open(member):
            message = f"{member.waiting} requests wait for {member.name} to be loaded already; try again later"
            raise OverloadedError("queue_full", message, retry_after=self._retry_after)
        started = time.monotonic()
        member.waiting += 1
        try:
            while not self._is_open(member):
                self._refuse_if_failed(member)
                waited = time.monotonic() - started
                await self._advance(member, waited)
        finally:
            member.waiting -= 1
            if member.waiting == 0:
                self._end_turn(member)
        pool_metrics.ROOM_SECONDS.labels(member.name).observe(time.monotonic() - started)
        assert member.engine is not None
        member.users += 1
        member.last_used = time.monotonic()
        return member.engine

    @staticmethod
    def _is_open(member: Member) -> bool:
        return member.state is State.LOADED and not member.yields

    @property
    def _retry_after(self) -> int:
        return max(1, round(self.limits.room_seconds))

    def _refuse_if_failed(self, member: Member) -> None:
        if member.state is not State.FAILED:
            return
        if time.monotonic() - member.failed_at < RETRY_SECONDS:
            raise ModelFailedError(f"The model {member.name!r} can't be served: {member.failure}")
        member.state = State.UNLOADED

    async def _advance(self, member: Member, waited: float) -> None:
        """Does what can be done to have the model loaded, and waits until something changes."""
        limit = self.limits.load_seconds if member.state is State.LOADING else self.limits.room_seconds
        if waited >= limit:
            raise NoRoomError(self._why_not(member), retry_after=self._retry_after)
        until = limit - waited
        if member.state is State.UNLOADED:
            if member not in self._turns:
                self._turns.append(member)
            if self._turns[0] is member and self._make_room(member, force=waited >= limit / 2):
                self._end_turn(member)
                member.state = State.LOADING
                _keep(self._loads, self._load(member))
            elif waited < limit / 2:
                until -= limit / 2
        changed = self._changed
        try:
            async with asyncio.timeout(until):
                await changed.wait()
        except TimeoutError:
            return

    def _why_not(self, member: Member) -> str:
        if member.state is State.LOADING:
            return f"The model {member.name!r} is still loading; try again later"
        users = ", ".join(repr(other.name) for other in self.members.values() if other.users and other is not member)
        return (
            f"There is no room in memory for the model {member.name!r}: {users or 'others'} of this server's models "
            "are in use; try again later"
        )

    def _make_room(self, member: Member, *, force: bool) -> bool:
        """Whether there is room now; else begins to make it, where ``force`` also of what is in use."""
        budget = self.limits.budget_bytes
        if budget is None:
            return True
        others = [other for other in self.members.values() if other is not member and other.holds_memory]
        missing = sum(other.bytes for other in others) + member.bytes - budget
        if missing <= 0:
            return True
        missing -= sum(other.bytes for other in others if other.state is State.UNLOADING)
        by_age = sorted((other for other in others if other.state is State.LOADED), key=lambda other: other.last_used)
        idle = [other for other in by_age if other.users == 0]
        busy = [other for other in by_age if other.users > 0]
        if sum(other.bytes for other in idle) >= missing:
            for other in _first_of(idle, missing):
                self._unload(other)
        elif force:
            for other in (*idle, *_first_of(busy, missing - sum(other.bytes for other in idle))):
                other.yields = True
        return False

    def _end_turn(self, member: Member) -> None:
        if member not in self._turns:
            return
        if self._turns[0] is member:
            for other in self.members.values():
                other.yields = False
        self._turns.remove(member)
        self._announce()

    async def _load(self, member: Member) -> None:
        started = time.monotonic()
        budget = self.limits.budget_bytes
        try:
            await self._measure(member)
            if budget is not None and self._held_bytes() > budget:
                member.state = State.UNLOADED  # it takes more than was thought: its requests make more room
                return
            member.engine = await member.source.load()
            member.state, member.failure = State.LOADED, ""
            pool_metrics.LOADS.labels(member.name, "ok").inc()
            pool_metrics.LOAD_SECONDS.labels(member.name).observe(time.monotonic() - started)
            pool_metrics.LOADED.labels(member.name).set(1)
        except LoadError as error:
            self.fail(member, str(error))
        except Exception as error:
            log.exception("loading failed", extra={"model": member.name})
            self.fail(member, f"{type(error).__name__}: {error}")
        finally:
            self._announce()

    async def _measure(self, member: Member) -> None:
        budget = self.limits.budget_bytes
        member.bytes = await member.source.measure()
        pool_metrics.MEMORY.labels(member.name).set(member.bytes)
        if budget is not None and member.bytes > budget:
            raise LoadError(
                f"{member.name} takes {member.bytes >> 20} MiB of memory, and MODEL_MEMORY_BUDGET_MIB is "
                f"{budget >> 20}; raise it, or lower the model's slots or context"
            )

    def _held_bytes(self) -> int:
        return sum(member.bytes for member in self.members.values() if member.holds_memory)

    def _unload(self, member: Member) -> None:
        member.state = State.UNLOADING
        _keep(self._unloads, self._close(member))

    async def _close(self, member: Member) -> None:
        assert member.engine is not None
        engine, member.engine = member.engine, None
        await engine.close()
        member.state = State.UNLOADED
        pool_metrics.LOADED.labels(member.name).set(0)
        pool_metrics.UNLOADS.labels(member.name).inc()
        log.info("model unloaded", extra={"model": member.name})
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _keep(tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _first_of(members: list[Member], needed: int) -> list[Member]:
    """The first ones that together take at least ``needed`` bytes."""
    taken = []
    for member in members:
        if needed <= 0:
            break
        taken.append(member)
        needed -= member.bytes
    return taken
