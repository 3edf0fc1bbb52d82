"""Metrics of the models that are loaded and unloaded."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
_BY_MODEL = ["model_name"]

LOADED = Gauge("llm_model_loaded", "1 while the model is in memory", _BY_MODEL)
MEMORY = Gauge("llm_model_memory_bytes", "What the model takes when it is loaded, estimated until it was", _BY_MODEL)
BUDGET = Gauge("llm_models_memory_budget_bytes", "What all loaded models together may take; 0: no limit")
LOADS = Counter("llm_model_loads_total", "Loads of the model", [*_BY_MODEL, "result"])
UNLOADS = Counter("llm_model_unloads_total", "Times the model was unloaded for another one", _BY_MODEL)
LOAD_SECONDS = Histogram(
    "llm_model_load_seconds", "From the decision to load the model until it was", _BY_MODEL, buckets=_SECONDS
)
ROOM_SECONDS = Histogram(
    "llm_model_wait_seconds", "What a request waited for its model to be in memory", _BY_MODEL, buckets=_SECONDS
)


def watch(model: str, memory_bytes: int) -> None:
    """Has the model's series begin at 0: one that appears with its first event has no rate before it."""
    LOADED.labels(model).set(0)
    MEMORY.labels(model).set(memory_bytes)
    for result in ("ok", "failed"):
        LOADS.labels(model, result)
    for metric in (UNLOADS, LOAD_SECONDS, ROOM_SECONDS):
        metric.labels(model)
