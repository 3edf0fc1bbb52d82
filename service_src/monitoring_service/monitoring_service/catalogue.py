"""The charts that can be asked for. Their expressions are fixed: a reader never sends PromQL.

Each is a series that Prometheus records (role monitoring_service, files/rules), so that drawing
a chart costs the same however many instances, buckets and readers there are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from monitoring_service.prometheus import Prometheus, Range
from monitoring_service.schemas import Chart, Line, Point, Series

MAX_POINTS = 240
MIN_STEP_SECONDS = 5


class ChartName(StrEnum):
    TOKENS_PER_SECOND = "tokens_per_second"
    TTFT = "ttft"
    INTER_TOKEN_LATENCY = "inter_token_latency"
    QUEUE = "queue"
    KV_CACHE = "kv_cache"
    CACHE_HIT_RATE = "cache_hit_rate"
    REQUESTS = "requests"
    ERRORS = "errors"
    HOST = "host"


@dataclass(frozen=True)
class ChartSpec:
    """One chart: its lines are (label, expression), each expression one series."""

    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]


CATALOGUE: dict[ChartName, ChartSpec] = {
    ChartName.TOKENS_PER_SECOND: ChartSpec(
        "Tokens per second",
        "tokens/s",
        (("generated", "llm:generation_tokens:rate30s"), ("prompt", "llm:prompt_tokens:rate30s")),
    ),
    ChartName.TTFT: ChartSpec(
        "Time to first token",
        "s",
        (
            ("median", "llm:time_to_first_token_seconds:p50_2m"),
            ("95th percentile", "llm:time_to_first_token_seconds:p95_2m"),
        ),
    ),
    ChartName.INTER_TOKEN_LATENCY: ChartSpec(
        "Time between tokens",
        "s",
        (
            ("median", "llm:inter_token_latency_seconds:p50_2m"),
            ("95th percentile", "llm:inter_token_latency_seconds:p95_2m"),
        ),
    ),
    ChartName.QUEUE: ChartSpec(
        "Requests in the model",
        "requests",
        (
            ("running", "llm:requests_running:sum"),
            ("waiting", "llm:requests_waiting:sum"),
            ("slots", "llm:slots:sum"),
        ),
    ),
    ChartName.KV_CACHE: ChartSpec("KV cache in use", "ratio", (("fullest", "llm:kv_cache_usage:max"),)),
    ChartName.CACHE_HIT_RATE: ChartSpec(
        "Response cache hit rate", "ratio", (("hits", "llm:response_cache_hit:ratio5m"),)
    ),
    ChartName.REQUESTS: ChartSpec(
        "Requests at the gateway",
        "requests/s",
        (
            ("answered", 'llm:gateway_requests:rate30s{class="2xx"}'),
            ("refused (4xx)", 'llm:gateway_requests:rate30s{class="4xx"}'),
            ("failed (5xx)", 'llm:gateway_requests:rate30s{class="5xx"}'),
        ),
    ),
    ChartName.ERRORS: ChartSpec("Failed requests", "ratio", (("failed (5xx)", "llm:gateway_errors:ratio2m"),)),
    ChartName.HOST: ChartSpec(
        "Host",
        "ratio",
        (("CPU", "llm:host_cpu:ratio"), ("memory", "llm:host_memory:ratio"), ("disk", "llm:host_disk:ratio")),
    ),
}


async def series(prometheus: Prometheus, names: Sequence[ChartName], minutes: int) -> Series:
    """The charts of these names over the last ``minutes``, at most MAX_POINTS points a line."""
    step = float(max(MIN_STEP_SECONDS, -(-minutes * 60 // MAX_POINTS)))
    end = time.time() // step * step  # so that a chart's points stay where they were drawn before
    start = end - minutes * 60 // step * step
    charts = await asyncio.gather(*(_chart(prometheus, name, start, end, step) for name in names))
    return Series(start=start, end=end, step=step, charts=list(charts))


async def _chart(prometheus: Prometheus, name: ChartName, start: float, end: float, step: float) -> Chart:
    spec = CATALOGUE[name]
    found = await asyncio.gather(
        *(prometheus.query_range(expression, start, end, step) for _, expression in spec.lines)
    )
    times = [start + step * i for i in range(int((end - start) // step) + 1)]
    lines = [
        Line(label=label, points=_points(ranges, times)) for (label, _), ranges in zip(spec.lines, found, strict=True)
    ]
    return Chart(name=name, title=spec.title, unit=spec.unit, lines=lines)


def _points(ranges: Sequence[Range], times: Sequence[float]) -> list[Point]:
    values = ranges[0].values if ranges else {}
    return [Point(time=time, value=values.get(time)) for time in times] if values else []
