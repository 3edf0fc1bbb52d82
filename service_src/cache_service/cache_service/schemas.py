"""What the API takes and gives as JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

KEY_PATTERN = r"^[A-Za-z0-9._:-]{1,256}$"
OWNER_PATTERN = r"^[A-Za-z0-9._:-]{1,64}$"


class PurgeRequest(BaseModel):
    """Which entries to remove: those whose key begins with ``prefix``, or all."""

    # A misspelt "prefix" must not remove everything.
    model_config = ConfigDict(extra="forbid")

    prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._:-]{0,256}$")


class Purged(BaseModel):
    removed: int


class Stats(BaseModel):
    """The state of the cache.

    Hits and misses are the GETs that this process answered since it started; evictions are Redis'
    since Redis started. Leases count as entries. ``memory_limit_bytes`` is 0 where Redis has none.
    """

    entries: int
    used_bytes: int
    memory_limit_bytes: int
    hits: int
    misses: int
    hit_ratio: float | None = Field(description="null before the first GET")
    evictions: int
    redis_version: str
    redis_uptime_seconds: int
