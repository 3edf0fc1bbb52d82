"""What the API answers. Times are Unix times, durations seconds, shares between 0 and 1.

A number that nobody knows (no data yet, or Prometheus does not answer) is null, never 0.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel


class State(StrEnum):
    """What a service is, seen now."""

    UP = "up"
    DEGRADED = "degraded"  # it serves, and something is wrong
    DOWN = "down"  # it serves nothing
    NOT_DEPLOYED = "not_deployed"
    UNKNOWN = "unknown"  # only Prometheus could tell, and it does not answer


class PrometheusState(BaseModel):
    reachable: bool
    reason: str | None = None


class Instances(BaseModel):
    ready: int
    total: int


class ServiceState(BaseModel):
    name: str
    kind: str
    state: State
    reason: str | None = None
    version: str | None = None
    uptime_seconds: float | None = None
    latency_seconds: float | None = None
    instances: Instances | None = None


class Services(BaseModel):
    checked_at: float
    prometheus: PrometheusState
    services: list[ServiceState]


class ModelNumbers(BaseModel):
    tokens_per_second: float | None = None
    prompt_tokens_per_second: float | None = None
    stream_tokens_per_second: float | None = None
    ttft_p50_seconds: float | None = None
    ttft_p95_seconds: float | None = None
    requests_running: float | None = None
    requests_waiting: float | None = None
    slots: float | None = None
    kv_cache_usage_ratio: float | None = None


class CacheNumbers(BaseModel):
    hit_ratio: float | None = None


class GatewayNumbers(BaseModel):
    requests_per_second: float | None = None
    error_ratio: float | None = None


class HostNumbers(BaseModel):
    cpu_ratio: float | None = None
    cpu_cores: float | None = None
    memory_ratio: float | None = None
    memory_bytes: float | None = None
    disk_ratio: float | None = None


class Overview(BaseModel):
    """The numbers of now; rates are of the last 30 seconds, quantiles of the last 2 minutes."""

    prometheus: PrometheusState
    model: ModelNumbers
    cache: CacheNumbers
    gateway: GatewayNumbers
    host: HostNumbers


class Point(BaseModel):
    time: float
    value: float | None


class Line(BaseModel):
    label: str
    points: list[Point]


class Chart(BaseModel):
    name: str
    title: str
    unit: str
    lines: list[Line]


class Series(BaseModel):
    """Charts over one stretch of time, a point every ``step`` seconds; gaps have null values."""

    start: float
    end: float
    step: float
    charts: list[Chart]


class Endpoint(BaseModel):
    """Where clients send their requests: ``url`` is null when it is where the page came from."""

    url: str | None
    models: list[str]
