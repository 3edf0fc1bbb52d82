from __future__ import annotations

from typing import Any

import httpx
import pytest


async def _keys(client: httpx.AsyncClient, *keys: str) -> list[str]:
    return [key for key in keys if (await client.get(f"/v1/entries/{key}")).status_code == 200]


async def test_stats_tell_how_full_and_how_useful_the_cache_is(client: httpx.AsyncClient) -> None:
    before = (await client.get("/v1/stats")).json()
    assert (before["entries"], before["hit_ratio"]) == (0, None)

    await client.put("/v1/entries/k", content=b"x" * 500_000)
    for key in ("k", "k", "k", "absent"):
        await client.get(f"/v1/entries/{key}")
    await client.head("/v1/entries/absent")

    stats = (await client.get("/v1/stats")).json()
    assert (stats["entries"], stats["hits"], stats["misses"], stats["hit_ratio"]) == (1, 3, 1, 0.75)
    assert stats["used_bytes"] > before["used_bytes"] + 400_000
    assert stats["memory_limit_bytes"] == 32 << 20
    assert stats["redis_version"].count(".") == 2
    assert stats["redis_uptime_seconds"] >= 0


async def test_purge_of_a_prefix_leaves_the_rest(client: httpx.AsyncClient) -> None:
    for key in ("chat:1", "chat:2", "embed:1", "ch"):
        await client.put(f"/v1/entries/{key}", content=b"x")
    response = await client.post("/v1/purge", json={"prefix": "chat:"})
    assert (response.status_code, response.json()) == (200, {"removed": 2})
    assert await _keys(client, "chat:1", "chat:2", "embed:1", "ch") == ["embed:1", "ch"]


@pytest.mark.parametrize("body", [None, {}, {"prefix": ""}])
async def test_purge_without_a_prefix_removes_all_entries(
    body: dict[str, str] | None, client: httpx.AsyncClient
) -> None:
    for number in range(2500):  # more than one batch of the scan
        await client.put(f"/v1/entries/k{number}", content=b"x")
    assert (await client.post("/v1/purge", json=body)).json() == {"removed": 2500}
    assert (await client.get("/v1/stats")).json()["entries"] == 0
    assert (await client.post("/v1/purge", json=body)).json() == {"removed": 0}


async def test_purge_leaves_what_is_not_ours(client: httpx.AsyncClient, redis_process: Any) -> None:
    redis_process.admin.set("someone-elses", "x")
    await client.put("/v1/entries/k", content=b"x")
    assert (await client.post("/v1/purge")).json() == {"removed": 1}
    assert redis_process.admin.get("someone-elses") == b"x"


@pytest.mark.parametrize("body", [{"prefx": "chat:"}, {"prefix": "*"}, {"prefix": "a[b"}, {"prefix": 1}, []])
async def test_an_unfit_purge_is_a_400_and_removes_nothing(body: Any, client: httpx.AsyncClient) -> None:
    await client.put("/v1/entries/k", content=b"x")
    assert (await client.post("/v1/purge", json=body)).status_code == 400
    assert await _keys(client, "k") == ["k"]


async def test_metrics_count_operations_by_result(client: httpx.AsyncClient) -> None:
    async def count(operation: str, result: str) -> float:
        series = f'llm_cache_requests_total{{operation="{operation}",result="{result}"}} '
        lines = (await client.get("/metrics")).text.splitlines()
        return sum(float(line.removeprefix(series)) for line in lines if line.startswith(series))

    counted = [("put", "ok"), ("get", "hit"), ("get", "miss"), ("head", "miss")]
    before = [await count(*series) for series in counted]
    await client.put("/v1/entries/k", content=b"x")
    await client.get("/v1/entries/k")
    await client.get("/v1/entries/absent")
    await client.head("/v1/entries/absent")
    assert [await count(*series) for series in counted] == [value + 1 for value in before]

    await client.get("/v1/stats")
    metrics = (await client.get("/metrics")).text
    assert "llm_cache_up 1.0" in metrics
    assert "llm_cache_entries 1.0" in metrics
    assert "llm_cache_memory_limit_bytes 3.3554432e+07" in metrics
    assert 'llm_cache_operation_seconds_count{operation="get"}' in metrics


async def test_openapi_describes_every_route(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert set(paths["/v1/entries/{key}"]) == {"put", "get", "head", "delete"}
    assert set(paths["/v1/entries/{key}/lease"]) == {"post", "delete"}
    assert {"/v1/stats", "/v1/purge", "/health/ready", "/metrics"} <= set(paths)
