from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from cache_service.settings import CacheSettings

MAX_ENTRY_BYTES = 1 << 20  # as in conftest.py


async def test_an_entry_comes_back_as_it_was_put(client: httpx.AsyncClient) -> None:
    content = os.urandom(5000) + b"\n\x00\xff"
    put = await client.put(
        "/v1/entries/a:1.b_c-d",
        content=content,
        headers={"Content-Type": "text/event-stream; charset=utf-8", "X-TTL-Seconds": "60"},
    )
    assert (put.status_code, put.content) == (204, b"")

    got = await client.get("/v1/entries/a:1.b_c-d")
    assert (got.status_code, got.content) == (200, content)
    assert got.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert got.headers["X-TTL-Seconds"] == "60"


async def test_head_has_the_headers_of_get_without_the_bytes(client: httpx.AsyncClient) -> None:
    await client.put("/v1/entries/k", content=b"x" * 300, headers={"Content-Type": "image/" + "x" * 249})
    got = await client.get("/v1/entries/k")
    head = await client.head("/v1/entries/k")
    assert head.status_code == 200
    assert head.headers["Content-Length"] == "300"
    for name in ("Content-Type", "Content-Length", "X-TTL-Seconds"):
        assert head.headers[name] == got.headers[name]
    assert (await client.head("/v1/entries/absent")).status_code == 404


async def test_an_entry_may_be_empty(client: httpx.AsyncClient) -> None:
    await client.put("/v1/entries/empty", content=b"")
    got = await client.get("/v1/entries/empty")
    assert (got.status_code, got.content) == (200, b"")
    assert got.headers["Content-Type"] == "application/octet-stream"
    assert (await client.head("/v1/entries/empty")).headers["Content-Length"] == "0"


async def test_a_put_replaces_bytes_type_and_ttl(client: httpx.AsyncClient) -> None:
    await client.put("/v1/entries/k", content=b"one", headers={"Content-Type": "text/plain", "X-TTL-Seconds": "9"})
    await client.put("/v1/entries/k", content=b"two", headers={"Content-Type": "text/html"})
    got = await client.get("/v1/entries/k")
    assert (got.content, got.headers["Content-Type"], got.headers["X-TTL-Seconds"]) == (
        b"two",
        "text/html",
        "600",
    )


async def test_an_absent_entry_is_a_404_in_the_common_form(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/entries/nothing")
    assert response.status_code == 404
    assert response.json()["error"] == {
        "message": "There is no entry nothing",
        "type": "invalid_request_error",
        "param": "key",
        "code": "entry_not_found",
    }


async def test_an_entry_is_gone_after_its_ttl(client: httpx.AsyncClient) -> None:
    await client.put("/v1/entries/brief", content=b"x", headers={"X-TTL-Seconds": "1"})
    assert (await client.get("/v1/entries/brief")).headers["X-TTL-Seconds"] == "1"
    await asyncio.sleep(1.2)
    assert (await client.get("/v1/entries/brief")).status_code == 404


async def test_delete_removes_and_may_be_repeated(client: httpx.AsyncClient) -> None:
    await client.put("/v1/entries/k", content=b"x")
    assert (await client.delete("/v1/entries/k")).status_code == 204
    assert (await client.get("/v1/entries/k")).status_code == 404
    assert (await client.delete("/v1/entries/k")).status_code == 204


@pytest.mark.parametrize("ttl", ["0", "-1", "3601", "soon", "1.5", ""])
async def test_a_ttl_out_of_range_is_a_400_that_names_the_header(ttl: str, client: httpx.AsyncClient) -> None:
    response = await client.put("/v1/entries/k", content=b"x", headers={"X-TTL-Seconds": ttl})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "X-TTL-Seconds"
    assert (await client.get("/v1/entries/k")).status_code == 404


async def test_the_longest_ttl_is_taken(client: httpx.AsyncClient) -> None:
    response = await client.put("/v1/entries/k", content=b"x", headers={"X-TTL-Seconds": "3600"})
    assert response.status_code == 204


@pytest.mark.parametrize("key", ["a b", "a*", "a%0Ab", "a%00", "ä", "x" * 257, "a[b]", "a%0A"])
@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
async def test_an_unfit_key_is_a_400(method: str, key: str, client: httpx.AsyncClient) -> None:
    response = await client.request(method, f"/v1/entries/{key}")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "key"


async def test_the_longest_key_is_taken(client: httpx.AsyncClient) -> None:
    assert (await client.put(f"/v1/entries/{'x' * 256}", content=b"1")).status_code == 204
    assert (await client.get(f"/v1/entries/{'x' * 256}")).content == b"1"


async def test_a_content_type_over_255_bytes_is_a_400(client: httpx.AsyncClient) -> None:
    response = await client.put("/v1/entries/k", content=b"x", headers={"Content-Type": "a" * 256})
    assert response.status_code == 400


async def _in_chunks(total: int) -> AsyncIterator[bytes]:
    for _ in range(total // 1024):
        yield b"x" * 1024
    yield b"x" * (total % 1024)


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
async def test_an_entry_over_the_limit_is_a_413_and_one_at_it_is_stored(
    declared: bool, client: httpx.AsyncClient
) -> None:
    def body(total: int) -> Any:
        return b"x" * total if declared else _in_chunks(total)

    refused = await client.put("/v1/entries/k", content=body(MAX_ENTRY_BYTES + 1))
    assert refused.status_code == 413
    assert refused.json()["error"]["code"] == "body_too_large"
    assert (await client.get("/v1/entries/k")).status_code == 404

    assert (await client.put("/v1/entries/k", content=body(MAX_ENTRY_BYTES))).status_code == 204
    assert len((await client.get("/v1/entries/k")).content) == MAX_ENTRY_BYTES


async def test_concurrent_requests_wait_for_a_free_connection(
    empty_redis: Any, settings: CacheSettings, serve: Any
) -> None:
    async def round_trip(client: httpx.AsyncClient, number: int) -> bytes:
        await client.put(f"/v1/entries/{number}", content=b"%d" % number)
        return (await client.get(f"/v1/entries/{number}")).content

    few = settings.model_copy(update={"redis_connections": 3, "redis_timeout": 10})
    async with serve(few) as client:
        answers = await asyncio.gather(*(round_trip(client, number) for number in range(100)))
        clients = empty_redis.admin.client_list()
    assert answers == [b"%d" % number for number in range(100)]
    assert len([entry for entry in clients if entry["user"] == "cache"]) == 3
