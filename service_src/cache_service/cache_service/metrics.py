"""The metrics of cache-service."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("llm_cache_requests_total", "Operations on the cache", ["operation", "result"])
OPERATION_SECONDS = Histogram(
    "llm_cache_operation_seconds",
    "How long Redis took for an operation, retries included",
    ["operation"],
    buckets=(0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024),
)
UP = Gauge("llm_cache_up", "1 while Redis answers")
ENTRIES = Gauge("llm_cache_entries", "Entries in Redis")
USED_BYTES = Gauge("llm_cache_used_bytes", "Memory that Redis uses")
LIMIT_BYTES = Gauge("llm_cache_memory_limit_bytes", "Memory that Redis may use, 0 for no limit")
