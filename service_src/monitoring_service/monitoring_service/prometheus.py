"""The two calls to Prometheus' HTTP API that this service needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx


class PrometheusError(Exception):
    """Prometheus gave no usable answer; the message says why, in one line."""


@dataclass(frozen=True)
class Sample:
    labels: Mapping[str, str]
    value: float

    @property
    def metric(self) -> str:
        return self.labels.get("__name__", "")


@dataclass(frozen=True)
class Range:
    """The values of one series by Unix time; times without a value are left out."""

    labels: Mapping[str, str]
    values: Mapping[float, float]


class Prometheus:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def query(self, expression: str) -> list[Sample]:
        """What ``expression`` is now; values that are no number (0/0) are left out."""
        result = await self._get("/api/v1/query", {"query": expression})
        samples = [Sample(item["metric"], float(item["value"][1])) for item in result]
        return [sample for sample in samples if math.isfinite(sample.value)]

    async def query_range(self, expression: str, start: float, end: float, step: float) -> list[Range]:
        """``expression`` at each ``step`` seconds between two Unix times, ends included."""
        params = {"query": expression, "start": str(start), "end": str(end), "step": str(step)}
        return [
            Range(item["metric"], {t: float(v) for t, v in item["values"] if math.isfinite(float(v))})
            for item in await self._get("/api/v1/query_range", params)
        ]

    async def _get(self, path: str, params: Mapping[str, str]) -> list[dict[str, Any]]:
        where = f"Prometheus at {self._client.base_url}"
        try:
            response = await self._client.get(path, params=dict(params))
            body = response.json()
        except httpx.TimeoutException as error:
            raise PrometheusError(f"{where} did not answer in time") from error
        except httpx.HTTPError as error:
            raise PrometheusError(f"{where} does not answer: {error}") from error
        except ValueError as error:
            raise PrometheusError(f"{where} answered {response.status_code}, not JSON") from error
        if response.status_code != 200 or body.get("status") != "success":
            raise PrometheusError(f"{where} answered {response.status_code}: {body.get('error', 'no reason')}")
        result: list[dict[str, Any]] = body["data"]["result"]
        return result
