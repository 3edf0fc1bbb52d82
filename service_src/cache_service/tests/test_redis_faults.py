"""Redis away, frozen, full, or refusing us: a clear answer in time, and back by itself."""

from __future__ import annotations

import logging
import time
from typing import Any

import httpx
import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from cache_service.settings import CacheSettings

REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("PUT", "/v1/entries/k", {"content": b"x"}),
    ("GET", "/v1/entries/k", {}),
    ("HEAD", "/v1/entries/k", {}),
    ("DELETE", "/v1/entries/k", {}),
    ("GET", "/v1/entries/k?wait_ms=5000", {}),
    ("POST", "/v1/entries/k/lease?owner=one", {}),
    ("DELETE", "/v1/entries/k/lease?owner=one", {}),
    ("GET", "/v1/stats", {}),
    ("POST", "/v1/purge", {}),
]


async def _each_is_a_503_in_time(client: httpx.AsyncClient, reason: str) -> None:
    for method, path, options in REQUESTS:
        started = time.monotonic()
        response = await client.request(method, path, **options)
        assert time.monotonic() - started < 4, f"{method} {path}"
        assert response.status_code == 503, f"{method} {path}"
        assert response.headers["Retry-After"] == "1"
        if method != "HEAD":
            error = response.json()["error"]
            assert error["code"] == "cache_unavailable"
            assert reason in error["message"]


async def _readiness(client: httpx.AsyncClient) -> tuple[int, str]:
    response = await client.get("/health/ready")
    return response.status_code, response.json()["checks"]["redis"]


async def test_a_killed_redis_is_a_503_and_back_by_itself(redis_server: Any, client: httpx.AsyncClient) -> None:
    await client.put("/v1/entries/k", content=b"x")
    assert await _readiness(client) == (200, "ok")

    redis_server.kill()
    await _each_is_a_503_in_time(client, f"Redis at 127.0.0.1:{redis_server.port} can't be reached")
    status, reason = await _readiness(client)
    assert status == 503
    assert "can't be reached" in reason
    assert (await client.get("/health/live")).status_code == 200
    assert "llm_cache_up 0.0" in (await client.get("/metrics")).text

    redis_server.start()
    assert await _readiness(client) == (200, "ok")
    assert (await client.put("/v1/entries/k", content=b"y")).status_code == 204
    assert (await client.get("/v1/entries/k")).content == b"y"
    assert "llm_cache_up 1.0" in (await client.get("/metrics")).text


async def test_a_restart_between_two_requests_is_not_noticed(redis_server: Any, client: httpx.AsyncClient) -> None:
    await client.put("/v1/entries/k", content=b"x")
    redis_server.kill()
    redis_server.start()
    assert (await client.get("/v1/entries/k")).status_code == 404


async def test_a_frozen_redis_is_a_503_in_time_and_back_by_itself(redis_server: Any, client: httpx.AsyncClient) -> None:
    await client.put("/v1/entries/k", content=b"x")
    with redis_server.frozen():
        await _each_is_a_503_in_time(client, "does not answer within 0.5 s")
        assert (await _readiness(client))[0] == 503
    assert (await client.get("/v1/entries/k")).status_code in {
        200,
        404,
    }  # the PUT or DELETE may have got through
    assert await _readiness(client) == (200, "ok")


async def test_a_late_answer_is_not_taken_for_the_next_requests(redis_server: Any, client: httpx.AsyncClient) -> None:
    for key in ("a", "b"):
        await client.put(f"/v1/entries/{key}", content=key.encode())
    with redis_server.frozen():
        assert (await client.get("/v1/entries/a")).status_code == 503
    for _ in range(5):
        assert (await client.get("/v1/entries/b")).content == b"b"


async def test_redis_going_and_coming_is_one_log_line_each(
    redis_server: Any, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    await client.get("/v1/entries/k")
    with caplog.at_level(logging.INFO, "cache_service"):
        redis_server.kill()
        for _ in range(3):
            await client.get("/v1/entries/k")
        redis_server.start()
        for _ in range(3):
            await client.get("/v1/entries/k")
    messages = [record.message for record in caplog.records if record.name == "cache_service.store"]
    assert len(messages) == 2
    assert "can't be reached" in messages[0]
    assert messages[1] == f"Redis at 127.0.0.1:{redis_server.port} answers"


async def test_a_wrong_password_is_said_in_the_readiness_and_in_the_log(
    empty_redis: Any, settings: CacheSettings, serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = CacheSettings(**{**settings.model_dump(), "redis_password": "wrong"})
    with caplog.at_level(logging.WARNING, "cache_service"):
        async with serve(wrong) as client:
            status, reason = await _readiness(client)
            await _each_is_a_503_in_time(client, "refuses the user or the password")
    assert status == 503
    assert "secret cache_redis_password" in reason
    assert [record.message for record in caplog.records if record.name == "cache_service.store"] == [reason]


async def test_a_missing_password_is_said_too(empty_redis: Any, settings: CacheSettings, serve: Any) -> None:
    without = CacheSettings(**{**settings.model_dump(), "redis_password": None})
    async with serve(without) as client:
        status, reason = await _readiness(client)
    assert status == 503
    assert "refuses the user or the password" in reason


async def test_a_name_that_does_not_resolve_is_said(settings: CacheSettings, serve: Any) -> None:
    nowhere = CacheSettings(**{**settings.model_dump(), "redis_url": "redis://redis.invalid:6379/0"})
    async with serve(nowhere) as client:
        status, reason = await _readiness(client)
    assert status == 503
    assert "Redis at redis.invalid:6379" in reason


async def test_a_full_redis_evicts_and_takes_the_new_entry(redis_server: Any, client: httpx.AsyncClient) -> None:
    for number in range(40):  # 40 MB into 32 MB
        response = await client.put(f"/v1/entries/{number}", content=b"x" * (1 << 20))
        assert response.status_code == 204
    stats = (await client.get("/v1/stats")).json()
    assert stats["evictions"] > 0
    assert 0 < stats["entries"] < 40
    assert (await client.get("/v1/entries/39")).status_code == 200


async def test_a_full_redis_that_evicts_nothing_is_a_507_and_still_reads(
    redis_server: Any, client: httpx.AsyncClient
) -> None:
    redis_server.admin.config_set("maxmemory-policy", "noeviction")
    await client.put("/v1/entries/first", content=b"x")
    statuses = {
        (await client.put(f"/v1/entries/{number}", content=b"x" * (1 << 20))).status_code for number in range(40)
    }
    assert statuses == {204, 507}
    refused = await client.put("/v1/entries/more", content=b"x" * (1 << 20))
    assert refused.json()["error"]["code"] == "cache_full"
    assert "memory limit" in refused.json()["error"]["message"]
    assert (await client.get("/v1/entries/first")).content == b"x"
    assert await _readiness(client) == (200, "ok")


@pytest.mark.parametrize(
    "command", ["FLUSHALL", "CONFIG GET *", "CLIENT LIST", "KEYS *", "SHUTDOWN", "ACL LIST", "SCRIPT FLUSH"]
)
async def test_the_services_user_may_not(command: str, redis_process: Any) -> None:
    user: Any = Redis(port=redis_process.port, username="cache", password="correct-horse")
    with pytest.raises(NoPermissionError):
        user.execute_command(*command.split())
    with pytest.raises(NoPermissionError):
        user.get("someone-elses")


@pytest.mark.parametrize(("call", "name"), [("FLUSHALL", "llm-cache:k"), ("GET", "someone-elses")])
def test_the_services_user_may_no_more_in_a_script(call: str, name: str, redis_process: Any) -> None:
    user: Any = Redis(port=redis_process.port, username="cache", password="correct-horse")
    with pytest.raises(ResponseError, match="The user executing the script can't"):
        user.eval(f"return redis.call('{call}', '{name}')", 0)
