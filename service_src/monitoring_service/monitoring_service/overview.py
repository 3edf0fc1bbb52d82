"""The numbers of now, in one question to Prometheus."""

from __future__ import annotations

from monitoring_service.prometheus import Prometheus, PrometheusError
from monitoring_service.schemas import (
    CacheNumbers,
    GatewayNumbers,
    HostNumbers,
    ModelNumbers,
    Overview,
    PrometheusState,
)

# Each is recorded by Prometheus as one series without labels (role monitoring_service, files/rules).
MODEL = {
    "tokens_per_second": "llm:generation_tokens:rate30s",
    "prompt_tokens_per_second": "llm:prompt_tokens:rate30s",
    "stream_tokens_per_second": "llm:stream_tokens:rate2m",
    "ttft_p50_seconds": "llm:time_to_first_token_seconds:p50_2m",
    "ttft_p95_seconds": "llm:time_to_first_token_seconds:p95_2m",
    "requests_running": "llm:requests_running:sum",
    "requests_waiting": "llm:requests_waiting:sum",
    "slots": "llm:slots:sum",
    "kv_cache_usage_ratio": "llm:kv_cache_usage:max",
}
CACHE = {"hit_ratio": "llm:response_cache_hit:ratio5m"}
GATEWAY = {
    "requests_per_second": "llm:gateway_requests_all:rate30s",
    "error_ratio": "llm:gateway_errors:ratio2m",
}
HOST = {
    "cpu_ratio": "llm:host_cpu:ratio",
    "cpu_cores": "llm:host_cpu:cores",
    "memory_ratio": "llm:host_memory:ratio",
    "memory_bytes": "llm:host_memory:bytes",
    "disk_ratio": "llm:host_disk:ratio",
}
METRICS = sorted({*MODEL.values(), *CACHE.values(), *GATEWAY.values(), *HOST.values()})


async def overview(prometheus: Prometheus) -> Overview:
    """Every number that Prometheus has; without Prometheus all are null and ``prometheus`` says why."""
    state = PrometheusState(reachable=True)
    values: dict[str, float] = {}
    try:
        samples = await prometheus.query(f'{{__name__=~"{"|".join(METRICS)}"}}')
        values = {sample.metric: sample.value for sample in samples}
    except PrometheusError as error:
        state = PrometheusState(reachable=False, reason=str(error))
    return Overview(
        prometheus=state,
        model=ModelNumbers(**_pick(MODEL, values)),
        cache=CacheNumbers(**_pick(CACHE, values)),
        gateway=GatewayNumbers(**_pick(GATEWAY, values)),
        host=HostNumbers(**_pick(HOST, values)),
    )


def _pick(fields: dict[str, str], values: dict[str, float]) -> dict[str, float | None]:
    return {field: values.get(metric) for field, metric in fields.items()}
