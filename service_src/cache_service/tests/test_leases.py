"""A lease says who makes an entry; the others wait for it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from cache_service.settings import CacheSettings

LONG_MS = 60_000
PATIENT = {"wait_ms": 10_000}


async def _ask(client: httpx.AsyncClient, owner: str, ttl_ms: int = LONG_MS, key: str = "k") -> str:
    """ "granted", or why not."""
    response = await client.post(f"/v1/entries/{key}/lease", params={"owner": owner, "ttl_ms": ttl_ms})
    if response.status_code == 204:
        return "granted"
    assert response.status_code == 409
    return str(response.json()["error"]["code"])


def _waiting(client: httpx.AsyncClient, key: str = "k") -> asyncio.Task[httpx.Response]:
    return asyncio.create_task(client.get(f"/v1/entries/{key}", params=PATIENT))


async def test_of_many_that_ask_at_once_one_gets_the_lease(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(_ask(client, f"owner-{number}") for number in range(20)))
    assert sorted(answers) == ["granted", *["lease_held"] * 19]


async def test_its_owner_prolongs_it(client: httpx.AsyncClient, redis_process: Any) -> None:
    assert await _ask(client, "one", ttl_ms=1000) == "granted"
    assert await _ask(client, "one") == "granted"
    assert redis_process.admin.pttl("llm-cache:k#lease") > 1000
    assert await _ask(client, "two") == "lease_held"


async def test_it_ends_by_itself(client: httpx.AsyncClient) -> None:
    assert await _ask(client, "one", ttl_ms=100) == "granted"
    waiting = await _waiting(client)
    assert waiting.status_code == 404
    assert await _ask(client, "two") == "granted"
    assert await _ask(client, "one") == "lease_held"  # too late to prolong it


async def test_only_its_owner_releases_it(client: httpx.AsyncClient) -> None:
    await _ask(client, "one")
    releases = [("two", "three", "lease_held"), ("one", "three", "granted"), ("one", "four", "lease_held")]
    for owner, asker, then in releases:
        assert (await client.delete("/v1/entries/k/lease", params={"owner": owner})).status_code == 204
        assert await _ask(client, asker) == then


async def test_leases_of_two_keys_are_two(client: httpx.AsyncClient) -> None:
    assert await _ask(client, "one", key="a") == "granted"
    assert await _ask(client, "two", key="b") == "granted"


async def test_there_is_no_lease_where_the_entry_is(client: httpx.AsyncClient) -> None:
    await client.put("/v1/entries/k", content=b"")
    assert await _ask(client, "one") == "entry_exists"
    await client.delete("/v1/entries/k")
    assert await _ask(client, "one") == "granted"


async def test_who_waits_gets_the_entry_that_is_put(client: httpx.AsyncClient) -> None:
    await _ask(client, "one")
    waiting = [_waiting(client) for _ in range(5)]
    await asyncio.sleep(0.2)
    assert not any(task.done() for task in waiting)
    await client.put("/v1/entries/k", content=b"made", headers={"Content-Type": "text/plain"})
    for got in await asyncio.gather(*waiting):
        assert (got.status_code, got.content, got.headers["Content-Type"]) == (200, b"made", "text/plain")


async def test_a_put_ends_the_lease(client: httpx.AsyncClient) -> None:
    await _ask(client, "one")
    await client.put("/v1/entries/k", content=b"made")
    await client.delete("/v1/entries/k")
    assert await _ask(client, "two") == "granted"


async def test_who_waits_goes_on_when_the_lease_is_released(client: httpx.AsyncClient) -> None:
    await _ask(client, "one")
    waiting = _waiting(client)
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await client.delete("/v1/entries/k/lease", params={"owner": "one"})
    assert (await waiting).status_code == 404
    assert await _ask(client, "two") == "granted"


async def test_a_wait_has_its_time(client: httpx.AsyncClient) -> None:
    await _ask(client, "one")
    assert (await client.get("/v1/entries/k", params={"wait_ms": 100})).status_code == 404
    assert await _ask(client, "two") == "lease_held"


async def test_without_a_lease_nothing_is_waited_for(client: httpx.AsyncClient) -> None:
    done, _ = await asyncio.wait({_waiting(client)}, timeout=5)
    assert [task.result().status_code for task in done] == [404]


async def test_replicas_share_leases_and_waits(client: httpx.AsyncClient, settings: CacheSettings, serve: Any) -> None:
    async with serve(settings) as other:
        assert await _ask(client, "one") == "granted"
        assert await _ask(other, "two") == "lease_held"
        waiting = _waiting(other)
        await asyncio.sleep(0.1)
        await client.put("/v1/entries/k", content=b"made")
        assert (await waiting).content == b"made"


async def test_a_wait_is_a_503_when_redis_dies(redis_server: Any, client: httpx.AsyncClient) -> None:
    await _ask(client, "one")
    waiting = _waiting(client)
    await asyncio.sleep(0.2)
    redis_server.kill()
    assert (await waiting).status_code == 503


async def test_waiting_is_no_miss(client: httpx.AsyncClient) -> None:
    await _ask(client, "one")
    await client.get("/v1/entries/k", params={"wait_ms": 100})
    stats = (await client.get("/v1/stats")).json()
    assert (stats["hits"], stats["misses"]) == (0, 0)


async def test_a_purge_leaves_leases(client: httpx.AsyncClient) -> None:
    await client.put("/v1/entries/entry", content=b"x")
    await _ask(client, "one")
    assert (await client.post("/v1/purge")).json() == {"removed": 1}
    assert await _ask(client, "two") == "lease_held"


@pytest.mark.parametrize(
    ("method", "path", "param"),
    [
        ("POST", "k/lease", "owner"),
        ("POST", "k/lease?owner=a%20b", "owner"),
        ("POST", "k/lease?owner=a&ttl_ms=0", "ttl_ms"),
        ("POST", "k/lease?owner=a&ttl_ms=60001", "ttl_ms"),
        ("POST", "a%20b/lease?owner=a", "key"),
        ("DELETE", "k/lease", "owner"),
        ("GET", "k?wait_ms=-1", "wait_ms"),
        ("GET", "k?wait_ms=10001", "wait_ms"),
    ],
)
async def test_what_is_out_of_range_is_a_400_that_names_it(
    method: str, path: str, param: str, client: httpx.AsyncClient
) -> None:
    response = await client.request(method, f"/v1/entries/{path}")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
