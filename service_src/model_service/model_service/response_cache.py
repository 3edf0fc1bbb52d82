"""Answers kept in cache-service. It may be slow, broken or away: then they are computed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Mapping
from typing import Any

import httpx
from pydantic import ValidationError

from model_service.answers import Answer

log = logging.getLogger(__name__)

_PAUSE_AFTER_FAILURE_SECONDS = 1.0


class CacheUnavailableError(Exception):
    """The cache did not answer in time, or not as it should."""


class ResponseCache:
    """Exact answers by key. A failure pauses it for a second, so that a dead cache costs little."""

    def __init__(self, client: httpx.AsyncClient, ttl_seconds: int, timeout_seconds: float) -> None:
        self._client = client
        self._ttl_seconds = ttl_seconds
        self._timeout_seconds = timeout_seconds
        self._paused_until = 0.0

    async def get(self, key: str) -> Answer | None:
        """The answer kept, None if there is none; CacheUnavailableError within the timeout."""
        response = await self._send("GET", key)
        if response.status_code == 404:
            return None
        if response.status_code != 200:
            raise self._failure(f"GET answered {response.status_code}")
        try:
            return Answer.model_validate_json(response.content)
        except ValidationError:
            log.warning("cached entry is not an answer", extra={"key": key})
            return None

    async def put(self, key: str, answer: Answer) -> None:
        """Keeps the answer, or logs why not."""
        headers = {"X-TTL-Seconds": str(self._ttl_seconds), "Content-Type": "application/json"}
        try:
            response = await self._send("PUT", key, headers, answer.model_dump_json().encode())
        except CacheUnavailableError:
            return
        if response.status_code != 204:
            log.warning("answer not cached", extra={"status": response.status_code})

    async def _send(
        self, method: str, key: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> httpx.Response:
        if time.monotonic() < self._paused_until:
            raise CacheUnavailableError("paused after a failure")
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._client.request(method, f"/v1/entries/{key}", headers=headers, content=body)
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
