from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service_kit import health


async def _passes() -> None:
    pass


async def _fails() -> None:
    raise ConnectionError("Redis at redis:6379 does not answer")


async def _fails_without_words() -> None:
    raise KeyError


async def _hangs() -> None:
    await asyncio.sleep(60)


async def test_live_answers_whatever_the_checks_say(client: httpx.AsyncClient, checks: Any) -> None:
    assert (await client.get("/health/live")).json() == {"status": "ok"}


async def test_ready_when_all_checks_pass(checks: dict[str, Any], client: httpx.AsyncClient) -> None:
    response = await client.get("/health/ready")
    assert response.status_code == 200
    assert response.json() == {"ready": True, "draining": False, "checks": {}}


class TestWithChecks:
    @pytest.fixture
    def checks(self) -> dict[str, Any]:
        return {"disk": _passes, "redis": _fails, "mute": _fails_without_words}

    async def test_not_ready_says_which_check_failed_and_why(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/health/ready")
        assert response.status_code == 503
        assert response.json() == {
            "ready": False,
            "draining": False,
            "checks": {
                "disk": "ok",
                "redis": "Redis at redis:6379 does not answer",
                "mute": "KeyError",
            },
        }


class TestWithHangingChecks:
    @pytest.fixture
    def checks(self) -> dict[str, Any]:
        return {"one": _hangs, "two": _hangs}

    async def test_hanging_checks_fail_together_within_their_bound(
        self, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(health, "CHECK_TIMEOUT_SECONDS", 2)
        started = time.monotonic()
        response = await client.get("/health/ready")
        assert time.monotonic() - started < 3.9
        assert response.json()["checks"] == {"one": "no answer within 2 s", "two": "no answer within 2 s"}


async def test_draining_is_not_ready_but_live(app: FastAPI, client: httpx.AsyncClient) -> None:
    app.state.health.draining = True
    response = await client.get("/health/ready")
    assert (response.status_code, response.json()["draining"]) == (503, True)
    assert (await client.get("/health/live")).status_code == 200


async def test_metrics_count_requests_by_route_and_status(client: httpx.AsyncClient) -> None:
    async def counted() -> float:
        text = (await client.get("/metrics")).text
        series = 'llm_http_requests_total{method="GET",route="/teapot",status="418"} '
        return sum(float(line.removeprefix(series)) for line in text.splitlines() if line.startswith(series))

    before = await counted()
    await client.get("/teapot")
    await client.get("/teapot")
    assert await counted() == before + 2
    assert 'llm_service_info{service="pots",version="1.2.3"} 1.0' in (await client.get("/metrics")).text


async def test_unknown_paths_share_one_metric_label(client: httpx.AsyncClient) -> None:
    await client.get("/no/such/path/1")
    assert "/no/such/path" not in (await client.get("/metrics")).text
