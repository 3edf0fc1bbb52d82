"""The entries in Redis.

An entry is one string: its content type, a line feed, its bytes. So one SET makes it whole, with
its time to live, and one GET reads it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeVar

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from cache_service import metrics
from cache_service.errors import StoreFull, StoreUnavailable
from cache_service.leases import ACQUIRE, LEASE_END, LEASE_SUFFIX, RELEASE, LeaseState
from cache_service.schemas import Stats
from cache_service.settings import CacheSettings

MAX_CONTENT_TYPE_BYTES = 255
_SCAN_BATCH = 1000
# How often a wait looks: it works with any number of our replicas, and after any fault of Redis.
_LOOK_SECONDS = 0.05

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class EntryInfo:
    """An entry without its bytes; ``ttl`` in seconds, rounded up."""

    content_type: str
    size: int
    ttl: int


@dataclass(frozen=True)
class Entry:
    info: EntryInfo
    content: bytes


class EntryStore:
    """Reads and writes entries; every method raises StoreUnavailable when Redis can't serve it."""

    def __init__(self, redis: Redis, namespace: str, timeout: float, address: str) -> None:
        self._redis = redis
        self._namespace = namespace
        self._timeout = timeout
        self._address = address
        self._up: bool | None = None
        self._hits = 0
        self._misses = 0

    @classmethod
    def from_settings(cls, settings: CacheSettings) -> Self:
        password = settings.redis_password
        pool = BlockingConnectionPool.from_url(
            str(settings.redis_url),
            password=password.get_secret_value() if password else None,
            max_connections=settings.redis_connections,
            timeout=None,  # waiting for a free connection is bounded as all else is, in _run
            socket_timeout=settings.redis_timeout,
            socket_connect_timeout=settings.redis_timeout,
            # Once: a pooled connection may have died with a Redis that is back since.
            retry=Retry(NoBackoff(), 1, supported_errors=(exceptions.ConnectionError,)),
            protocol=2,
            driver_info=None,
        )
        url = settings.redis_url
        address = f"{url.host}:{url.port or 6379}"
        return cls(Redis.from_pool(pool), settings.namespace, settings.redis_timeout, address)

    async def close(self) -> None:
        await self._redis.aclose()

    async def ping(self) -> None:
        await self._run("ping", self._redis.ping)

    async def put(self, key: str, content: bytes, content_type: str, ttl: int) -> None:
        """Stores the entry, and ends the lease on its key, whoever holds it: what it was for is there."""
        name = self._namespace + key
        value = content_type.encode("latin-1") + b"\n" + content

        async def write() -> None:
            async with self._redis.pipeline() as pipe:
                pipe.set(name, value, ex=ttl)
                pipe.unlink(name + LEASE_SUFFIX)
                await pipe.execute()

        await self._run("put", write)

    async def get(self, key: str) -> Entry | None:
        name = self._namespace + key

        async def read() -> list[Any]:
            async with self._redis.pipeline() as pipe:
                pipe.get(name)
                pipe.pttl(name)
                return list(await pipe.execute())

        value, ttl_ms = await self._run("get", read, lambda result: _hit_or_miss(result[0]))
        if value is None:
            self._misses += 1
            return None
        self._hits += 1
        content_type, _, content = value.partition(b"\n")
        info = EntryInfo(content_type.decode("latin-1"), len(content), _seconds(ttl_ms))
        return Entry(info, content)

    async def head(self, key: str) -> EntryInfo | None:
        name = self._namespace + key

        async def read() -> list[Any]:
            async with self._redis.pipeline() as pipe:
                pipe.getrange(name, 0, MAX_CONTENT_TYPE_BYTES)
                pipe.strlen(name)
                pipe.pttl(name)
                return list(await pipe.execute())

        start, length, ttl_ms = await self._run("head", read, lambda result: _hit_or_miss(result[1] or None))
        if not length:
            return None
        content_type = start.partition(b"\n")[0]
        size = length - len(content_type) - 1
        return EntryInfo(content_type.decode("latin-1"), size, _seconds(ttl_ms))

    async def delete(self, key: str) -> None:
        await self._run("delete", lambda: self._redis.unlink(self._namespace + key))

    async def acquire_lease(self, key: str, owner: str, ttl_ms: int) -> LeaseState:
        """Gives the owner the lease, or prolongs the one it has, where nobody else has it and the entry isn't there."""
        name = self._namespace + key
        state = await self._run(
            "lease",
            lambda: self._script(ACQUIRE, [name, name + LEASE_SUFFIX], owner, ttl_ms),
            lambda answer: answer.decode(),
        )
        return LeaseState(state.decode())

    async def release_lease(self, key: str, owner: str) -> None:
        """Ends the owner's lease, if it has it still."""
        await self._run("release", lambda: self._script(RELEASE, [self._namespace + key + LEASE_SUFFIX], owner))

    async def wait(self, key: str, seconds: float) -> Entry | None:
        """The entry as soon as it is there; None once nobody has the lease on its key, or after these seconds."""
        name = self._namespace + key
        give_up = time.monotonic() + seconds

        async def look() -> list[Any]:
            async with self._redis.pipeline() as pipe:
                pipe.strlen(name)
                pipe.strlen(name + LEASE_SUFFIX)
                return list(await pipe.execute())

        while True:
            entry_length, lease_length = await self._run("wait", look)
            if entry_length:
                return await self.get(key)
            left = give_up - time.monotonic()
            if not lease_length or left <= 0:
                return None
            await asyncio.sleep(min(_LOOK_SECONDS, left))

    async def purge(self, prefix: str) -> int:
        """Removes the entries whose key begins with ``prefix``; returns how many there were. Leases stay.

        It goes in batches, so that Redis serves others in between; an entry that is put meanwhile
        may stay.
        """
        pattern = f"{self._namespace}{prefix}*"  # neither part can hold a wildcard
        removed = cursor = 0
        while True:
            cursor, count = await self._run("purge_batch", partial(self._purge_batch, cursor, pattern))
            removed += count
            if cursor == 0:
                return removed

    async def _purge_batch(self, cursor: int, pattern: str) -> tuple[int, int]:
        """One step of the scan; returns where the next begins (0: done) and how many it removed."""
        found: Any = await self._redis.scan(cursor, match=pattern, count=_SCAN_BATCH)
        cursor, names = found
        entries = [name for name in names if not name.endswith(LEASE_END)]
        return cursor, await self._redis.unlink(*entries) if entries else 0

    async def stats(self) -> Stats:
        async def read() -> list[Any]:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.dbsize()
                pipe.info("server", "memory", "stats")
                return list(await pipe.execute())

        entries, info = await self._run("stats", read)
        answered = self._hits + self._misses
        stats = Stats(
            entries=entries,
            used_bytes=info["used_memory"],
            memory_limit_bytes=info["maxmemory"],
            hits=self._hits,
            misses=self._misses,
            hit_ratio=self._hits / answered if answered else None,
            evictions=info["evicted_keys"],
            redis_version=info["redis_version"],
            redis_uptime_seconds=info["uptime_in_seconds"],
        )
        metrics.ENTRIES.set(stats.entries)
        metrics.USED_BYTES.set(stats.used_bytes)
        metrics.LIMIT_BYTES.set(stats.memory_limit_bytes)
        return stats

    async def _script(self, script: str, names: list[str], *arguments: str | int) -> Any:
        # Sent whole each time: some 300 bytes, and nothing to load again into a Redis that was restarted.
        return await self._redis.eval(script, len(names), *names, *arguments)

    async def _run(
        self,
        operation: str,
        call: Callable[[], Awaitable[T]],
        result_of: Callable[[T], str] = lambda _result: "ok",
    ) -> T:
        """Runs one operation within the time limit; counts, times and translates how it ends."""
        started = time.perf_counter()
        outcome = "error"
        try:
            async with asyncio.timeout(self._timeout):
                result = await call()
            outcome = result_of(result)
        except exceptions.OutOfMemoryError as error:
            outcome = "full"
            raise StoreFull(
                f"Redis at {self._address} is at its memory limit and evicts nothing;"
                " raise maxmemory or choose an evicting policy"
            ) from error
        except (exceptions.RedisError, OSError) as error:
            outcome = "unavailable"
            reason = f"Redis at {self._address} {self._what_is_wrong(error)}"
            self._note_up(False, reason)
            raise StoreUnavailable(reason) from error
        else:
            self._note_up(True)
            return result
        finally:
            metrics.REQUESTS.labels(operation, outcome).inc()
            metrics.OPERATION_SECONDS.labels(operation).observe(time.perf_counter() - started)

    def _what_is_wrong(self, error: Exception) -> str:
        match error:
            case TimeoutError() | exceptions.TimeoutError():
                return f"does not answer within {self._timeout:g} s"
            case exceptions.AuthenticationError() | exceptions.AuthenticationWrongNumberOfArgsError():
                return (
                    "refuses the user or the password: compare CACHE_REDIS_URL and the secret"
                    " cache_redis_password with Redis' own"
                )
            case exceptions.BusyLoadingError():
                return "is still loading its data"
            case exceptions.ConnectionError() | OSError():
                return f"can't be reached: {error}"
            case _:
                return f"answers with an error: {error}"

    def _note_up(self, up: bool, reason: str = "") -> None:
        metrics.UP.set(up)
        if up == self._up:
            return
        self._up = up
        if up:
            log.info("Redis at %s answers", self._address)
        else:
            log.warning("%s", reason)


def _hit_or_miss(value: object) -> str:
    return "miss" if value is None else "hit"


def _seconds(milliseconds: int) -> int:
    return max(1, -(-milliseconds // 1000))
