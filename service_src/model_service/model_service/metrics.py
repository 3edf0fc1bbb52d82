"""The service's own metrics, with the buckets of OpenTelemetry's GenAI conventions."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing

from prometheus_client import REGISTRY, Counter, Histogram, Info, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from model_service.engine import (
    Delta,
    Engine,
    EngineError,
    EngineStats,
    Event,
    Finished,
    OverloadedError,
    PromptTooLongError,
    Started,
)
from service_kit.metrics import DURATION_BUCKETS

_TTFT_BUCKETS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
    *(20, 40, 80, 160),  # a CPU's long prompts and queues
)
_PER_TOKEN_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)

_TOKEN_BUCKETS = tuple(4**power for power in range(14))  # as OpenTelemetry's GenAI conventions have it

# As in vLLM, whose dashboards choose by it.
_BY_MODEL = ["model_name"]

BACKEND = Info("llm_backend", "What llama.cpp computes with")
PROMPT_TOKENS = Counter("llm_prompt_tokens_total", "Prompt tokens of admitted requests", _BY_MODEL)
CACHED_TOKENS = Counter(
    "llm_prompt_tokens_cached_total", "Prompt tokens of admitted requests computed for others before", _BY_MODEL
)
GENERATION_TOKENS = Counter("llm_generation_tokens_total", "Generated tokens", _BY_MODEL)
SUCCESS = Counter("llm_request_success_total", "Requests that finished", [*_BY_MODEL, "finished_reason"])
REJECTED = Counter("llm_requests_rejected_total", "Requests refused before they got a slot", [*_BY_MODEL, "reason"])
CACHE = Counter("llm_response_cache_total", "Where answers came from", [*_BY_MODEL, "result"])
TTFT = Histogram("llm_time_to_first_token_seconds", "From arrival to the first token", _BY_MODEL, buckets=_TTFT_BUCKETS)
INTER_TOKEN = Histogram(
    "llm_inter_token_latency_seconds", "Between tokens of a request", _BY_MODEL, buckets=_PER_TOKEN_BUCKETS
)
E2E = Histogram(
    "llm_e2e_request_latency_seconds", "From arrival to the last token", _BY_MODEL, buckets=DURATION_BUCKETS
)
QUEUE_TIME = Histogram("llm_request_queue_time_seconds", "From arrival to a slot", _BY_MODEL, buckets=_TTFT_BUCKETS)
PREFILL_TIME = Histogram(
    "llm_request_prefill_time_seconds", "From a slot to the first token", _BY_MODEL, buckets=_TTFT_BUCKETS
)
DECODE_TIME = Histogram(
    "llm_request_decode_time_seconds", "From the first token to the last", _BY_MODEL, buckets=DURATION_BUCKETS
)
REQUEST_PROMPT_TOKENS = Histogram(
    "llm_request_prompt_tokens", "Tokens of a request's prompt", _BY_MODEL, buckets=_TOKEN_BUCKETS
)
REQUEST_GENERATION_TOKENS = Histogram(
    "llm_request_generation_tokens", "Tokens generated for a request", _BY_MODEL, buckets=_TOKEN_BUCKETS
)


class EngineCollector(Collector):
    """What the engines say of themselves, whenever it is scraped."""

    def __init__(self) -> None:
        self._engines: dict[str, Engine] = {}

    def watch(self, engine: Engine, model: str) -> None:
        """Takes an engine in, and has the counters of its requests begin at 0."""
        self._engines[model] = engine
        # A series that appears only with its first event has no rate before it.
        for metric in (PROMPT_TOKENS, CACHED_TOKENS, GENERATION_TOKENS, TTFT, INTER_TOKEN, E2E, QUEUE_TIME):
            metric.labels(model)
        for metric in (PREFILL_TIME, DECODE_TIME, REQUEST_PROMPT_TOKENS, REQUEST_GENERATION_TOKENS):
            metric.labels(model)
        for reason in ("stop", "length"):
            SUCCESS.labels(model, reason)
        for reason in ("queue_full", "queue_timeout", "context_length_exceeded"):
            REJECTED.labels(model, reason)
        for result in ("hit", "coalesced", "miss", "bypass", "error"):
            CACHE.labels(model, result)

    def collect(self) -> Iterator[Metric]:
        stats = {model: engine.stats() for model, engine in self._engines.items()}
        for name, text, of in _GAUGES:
            gauge = GaugeMetricFamily(name, text, labels=_BY_MODEL)
            for model, each in stats.items():
                gauge.add_metric([model], of(each))
            yield gauge
        for name, text, of in _COUNTERS:
            counter = CounterMetricFamily(name, text, labels=_BY_MODEL)
            for model, each in stats.items():
                counter.add_metric([model], of(each))
            yield counter
        steps = CounterMetricFamily(
            "llm_engine_step_seconds", "Seconds of the engine's steps, by phase", labels=[*_BY_MODEL, "phase"]
        )
        for model, each in stats.items():
            for phase, seconds in each.step_seconds.items():
                steps.add_metric([model, phase], seconds)
        yield steps


_GAUGES: tuple[tuple[str, str, Callable[[EngineStats], float]], ...] = (
    ("llm_requests_running", "Requests in a slot", lambda stats: stats.running),
    ("llm_requests_waiting", "Requests waiting for a slot", lambda stats: stats.waiting),
    ("llm_slots", "Requests that can be computed side by side", lambda stats: stats.slots),
    ("llm_kv_cache_usage_ratio", "Used part of the KV cache, 0 to 1", lambda stats: stats.kv_usage),
    ("llm_prefix_store_bytes", "Memory that computed prefixes take", lambda stats: stats.prefix_store_bytes),
)
_COUNTERS: tuple[tuple[str, str, Callable[[EngineStats], float]], ...] = (
    ("llm_prompt_tokens_computed", "Prompt tokens computed", lambda stats: stats.prompt_tokens_computed),
    ("llm_requests_paused", "Requests paused for want of room", lambda stats: stats.paused),
    ("llm_requests_failed", "Requests that the engine could not compute", lambda stats: stats.failed),
    ("llm_contexts_lost", "Fatal errors after which the KV cache was made anew", lambda stats: stats.contexts_lost),
)
ENGINES = EngineCollector()
REGISTRY.register(ENGINES)


async def measured(events: AsyncGenerator[Event, None], model: str) -> AsyncGenerator[Event, None]:
    """The same events, counted and timed for the model."""
    arrived = last = time.perf_counter()
    count_token, between_tokens = GENERATION_TOKENS.labels(model).inc, INTER_TOKEN.labels(model).observe
    is_first = True
    try:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Delta):
                    now = time.perf_counter()
                    count_token()
                    if is_first:
                        TTFT.labels(model).observe(now - arrived)
                    else:
                        between_tokens(now - last)
                    is_first, last = False, now
                elif isinstance(event, Started):
                    PROMPT_TOKENS.labels(model).inc(event.prompt_tokens)
                    CACHED_TOKENS.labels(model).inc(event.cached_tokens)
                    REQUEST_PROMPT_TOKENS.labels(model).observe(event.prompt_tokens)
                    QUEUE_TIME.labels(model).observe(event.queued_seconds)
                else:
                    _count_finished(event, model, time.perf_counter() - arrived)
                yield event
    except EngineError as error:
        count_rejection(error, model)
        raise


def _count_finished(event: Finished, model: str, seconds: float) -> None:
    SUCCESS.labels(model, event.reason).inc()
    E2E.labels(model).observe(seconds)
    PREFILL_TIME.labels(model).observe(event.prompt_seconds)
    DECODE_TIME.labels(model).observe(event.generation_seconds)
    REQUEST_GENERATION_TOKENS.labels(model).observe(event.generated_tokens)


def count_rejection(error: EngineError, model: str) -> None:
    """Counts the error if it is one of those that refuse a request."""
    match error:
        case OverloadedError():
            REJECTED.labels(model, error.reason).inc()
        case PromptTooLongError():
            REJECTED.labels(model, "context_length_exceeded").inc()
