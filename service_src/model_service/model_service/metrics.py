"""The service's own metrics, with the buckets of OpenTelemetry's GenAI conventions."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from prometheus_client import Counter, Gauge, Histogram, Info

from model_service.engine import (
    Delta,
    Engine,
    EngineError,
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

# As in vLLM, whose dashboards choose by it.
_BY_MODEL = ["model_name"]

BACKEND = Info("llm_backend", "What llama.cpp computes with")
RUNNING = Gauge("llm_requests_running", "Requests in a slot", _BY_MODEL)
WAITING = Gauge("llm_requests_waiting", "Requests waiting for a slot", _BY_MODEL)
SLOTS = Gauge("llm_slots", "Requests that can be computed side by side", _BY_MODEL)
KV_USAGE = Gauge("llm_kv_cache_usage_ratio", "Used part of the KV cache, 0 to 1", _BY_MODEL)
PROMPT_TOKENS = Counter("llm_prompt_tokens_total", "Prompt tokens of admitted requests", _BY_MODEL)
GENERATION_TOKENS = Counter("llm_generation_tokens_total", "Generated tokens", _BY_MODEL)
SUCCESS = Counter("llm_request_success_total", "Requests that finished", [*_BY_MODEL, "finished_reason"])
REJECTED = Counter("llm_requests_rejected_total", "Requests refused before they got a slot", [*_BY_MODEL, "reason"])
CACHE = Counter("llm_response_cache_total", "Lookups of the response cache", [*_BY_MODEL, "result"])
TTFT = Histogram("llm_time_to_first_token_seconds", "From arrival to the first token", _BY_MODEL, buckets=_TTFT_BUCKETS)
INTER_TOKEN = Histogram(
    "llm_inter_token_latency_seconds", "Between tokens of a request", _BY_MODEL, buckets=_PER_TOKEN_BUCKETS
)
E2E = Histogram(
    "llm_e2e_request_latency_seconds", "From arrival to the last token", _BY_MODEL, buckets=DURATION_BUCKETS
)
QUEUE_TIME = Histogram("llm_request_queue_time_seconds", "From arrival to a slot", _BY_MODEL, buckets=_TTFT_BUCKETS)


def watch(engine: Engine, model: str) -> None:
    """Has the gauges read the engine's load whenever they are scraped, and its counters begin at 0."""
    RUNNING.labels(model).set_function(lambda: engine.stats().running)
    WAITING.labels(model).set_function(lambda: engine.stats().waiting)
    SLOTS.labels(model).set_function(lambda: engine.stats().slots)
    KV_USAGE.labels(model).set_function(lambda: engine.stats().kv_usage)
    # A series that appears only with its first event has no rate before it.
    for metric in (PROMPT_TOKENS, GENERATION_TOKENS, TTFT, INTER_TOKEN, E2E, QUEUE_TIME):
        metric.labels(model)
    for reason in ("stop", "length"):
        SUCCESS.labels(model, reason)
    for reason in ("queue_full", "queue_timeout", "context_length_exceeded"):
        REJECTED.labels(model, reason)
    for result in ("hit", "miss", "bypass", "error"):
        CACHE.labels(model, result)


async def measured(events: AsyncGenerator[Event, None], model: str) -> AsyncGenerator[Event, None]:
    """The same events, counted and timed for the model."""
    arrived = last = time.perf_counter()
    is_first = True
    try:
        async with aclosing(events):
            async for event in events:
                now = time.perf_counter()
                match event:
                    case Started():
                        PROMPT_TOKENS.labels(model).inc(event.prompt_tokens)
                        QUEUE_TIME.labels(model).observe(event.queued_seconds)
                    case Delta():
                        GENERATION_TOKENS.labels(model).inc()
                        (TTFT if is_first else INTER_TOKEN).labels(model).observe(now - last)
                        is_first, last = False, now
                    case Finished():
                        SUCCESS.labels(model, event.reason).inc()
                        E2E.labels(model).observe(now - arrived)
                yield event
    except EngineError as error:
        reason = _rejection(error)
        if reason:
            REJECTED.labels(model, reason).inc()
        raise


def _rejection(error: EngineError) -> str | None:
    match error:
        case OverloadedError():
            return error.reason
        case PromptTooLongError():
            return "context_length_exceeded"
        case _:
            return None
