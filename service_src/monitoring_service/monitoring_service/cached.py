"""One answer for all who ask within a short time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Cached(Generic[T]):
    """Calls ``produce`` at most once per ``seconds``; who asks meanwhile waits for the same result."""

    def __init__(self, produce: Callable[[], Awaitable[T]], seconds: float) -> None:
        self._produce = produce
        self._seconds = seconds
        self._lock = asyncio.Lock()
        self._value: tuple[float, T] | None = None

    async def get(self) -> T:
        async with self._lock:
            if self._value is None or time.monotonic() - self._value[0] >= self._seconds:
                self._value = (time.monotonic(), await self._produce())
            return self._value[1]
