"""Answers kept in cache-service. It may be slow, broken or away: then they are computed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Mapping
from enum import Enum
from typing import Any

import httpx
from pydantic import ValidationError

from model_service.answers import Answer

log = logging.getLogger(__name__)

_PAUSE_AFTER_FAILURE_SECONDS = 1.0
# An older cache-service has no leases, a full Redis takes none: neither is a reason not to look for answers.
_WITHOUT_LEASES = (404, 405, 507)


class CacheUnavailableError(Exception):
    """The cache did not answer in time, or not as it should."""


class LeaseState(Enum):
    """Whose the computation of an answer is."""

    GRANTED = "ours"
    HELD = "another replica's"
    STORED = "nobody's: it is there"


class ResponseCache:
    """Exact answers by key. A failure pauses it for a second, so that a dead cache costs little."""

    def __init__(
        self, client: httpx.AsyncClient, ttl_seconds: int, timeout_seconds: float, wait_seconds: float = 120.0
    ) -> None:
        """``wait_seconds`` is how long a request waits for the same answer that is being computed for another."""
        self._client = client
        self._ttl_seconds = ttl_seconds
        self._timeout_seconds = timeout_seconds
        self.wait_seconds = wait_seconds
        self._paused_until = 0.0

    def deadline(self) -> float:
        """Until when, in the loop's time, what begins now may take."""
        return asyncio.get_running_loop().time() + self._timeout_seconds

    async def get(self, key: str, wait_seconds: float = 0.0) -> Answer | None:
        """The answer kept, None if there is none; CacheUnavailableError within the timeout.

        ``wait_seconds``: how long cache-service waits for it where its lease is held.
        """
        parameters = {"wait_ms": round(wait_seconds * 1000)} if wait_seconds else {}
        until = self.deadline() + wait_seconds
        response = await self._send("GET", key, parameters=parameters, until=until)
        if response.status_code == 404:
            return None
        if response.status_code != 200:
            raise self._failure(f"GET answered {response.status_code}")
        try:
            return Answer.model_validate_json(response.content)
        except ValidationError:
            log.warning("cached entry is not an answer", extra={"key": key})
            return None

    async def put(self, key: str, answer: Answer) -> bool:
        """Keeps the answer, which ends the lease on its key; or logs why not."""
        headers = {"X-TTL-Seconds": str(self._ttl_seconds), "Content-Type": "application/json"}
        try:
            response = await self._send("PUT", key, headers=headers, body=answer.model_dump_json().encode())
        except CacheUnavailableError:
            return False
        if response.status_code != 204:
            log.warning("answer not cached", extra={"status": response.status_code})
        return response.status_code == 204

    async def acquire(self, key: str, owner: str, lease_seconds: float, until: float | None = None) -> LeaseState:
        """Takes or prolongs the lease on the computation; CacheUnavailableError by ``until``, or within the timeout."""
        parameters: dict[str, str | int] = {"owner": owner, "ttl_ms": round(lease_seconds * 1000)}
        response = await self._send("POST", f"{key}/lease", parameters=parameters, until=until)
        if response.status_code == 204:
            return LeaseState.GRANTED
        if response.status_code == 409:
            return LeaseState.STORED if b'"entry_exists"' in response.content else LeaseState.HELD
        reason = f"lease: answered {response.status_code}"
        raise CacheUnavailableError(reason) if response.status_code in _WITHOUT_LEASES else self._failure(reason)

    async def release(self, key: str, owner: str, until: float) -> None:
        """Lets another replica compute. If that fails, the lease ends by itself."""
        try:
            await self._send("DELETE", f"{key}/lease", parameters={"owner": owner}, until=until)
        except CacheUnavailableError as error:
            log.info("lease not released", extra={"reason": str(error)})

    async def _send(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        until: float | None = None,
    ) -> httpx.Response:
        if time.monotonic() < self._paused_until:
            raise CacheUnavailableError("paused after a failure")
        try:
            async with asyncio.timeout_at(until or self.deadline()):
                return await self._client.request(
                    method, f"/v1/entries/{path}", params=parameters, headers=headers, content=body, timeout=None
                )
        except (TimeoutError, httpx.HTTPError) as error:
            raise self._failure(f"{method}: {type(error).__name__} {error}".strip()) from error

    def _failure(self, reason: str) -> CacheUnavailableError:
        self._paused_until = time.monotonic() + _PAUSE_AFTER_FAILURE_SECONDS
        log.warning("cache unavailable", extra={"reason": reason})
        return CacheUnavailableError(reason)


def cache_key(fields: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of all that the answer depends on."""
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
