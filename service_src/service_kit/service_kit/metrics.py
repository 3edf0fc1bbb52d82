"""Prometheus metrics: the ones every service has, and the endpoint that exposes all."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, Info, generate_latest
from starlette.responses import Response

# OpenTelemetry's buckets for the duration of a GenAI request, in seconds.
DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)

SERVICE = Info("llm_service", "Name and version of the service")
DRAINING = Gauge("llm_draining", "1 while the service finishes its requests before it exits")
REQUESTS = Counter("llm_http_requests_total", "Requests answered", ["method", "route", "status"])
REQUESTS_IN_FLIGHT = Gauge("llm_http_requests_in_flight", "Requests being answered now")
REQUEST_DURATION = Histogram(
    "llm_http_request_duration_seconds",
    "From the first byte of a request to the last of its answer",
    ["method", "route"],
    buckets=DURATION_BUCKETS,
)

router = APIRouter(tags=["metrics"])


@router.get("/metrics", response_class=Response)
def metrics() -> Response:
    """All metrics of the process, in Prometheus' text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
