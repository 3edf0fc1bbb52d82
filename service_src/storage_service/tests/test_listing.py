"""The list of files: order, prefix, pages."""

from __future__ import annotations

import random
from pathlib import Path

import httpx
import pytest

from storage_service.conditions import Conditions
from storage_service.store import Store

NAMES = ["a", "a-b", "a-b/c", "a.b", "a/b", "a/b/c", "a/c", "a0", "a_b/x", "b/a/a", "b/a/b", "b0/z", "B"]


def put(store: Store, name: str, content: bytes = b"x") -> None:
    temp = store.begin(name, Conditions(), None)
    try:
        store.append(temp, content)
        temp.sync()
        store.commit(name, temp, "text/plain", Conditions())
    finally:
        temp.close()


async def paths(client: httpx.AsyncClient, **query: str | int) -> list[str]:
    response = await client.get("/v1/files", params=query)
    assert response.status_code == 200
    return [item["path"] for item in response.json()["files"]]


async def test_an_empty_store_has_an_empty_list(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/files")).json() == {"files": [], "next_after": None}


async def test_files_are_listed_in_the_order_of_their_bytes(client: httpx.AsyncClient, store: Store) -> None:
    for name in random.Random(3).sample(NAMES, len(NAMES)):
        put(store, name)
    assert await paths(client) == sorted(NAMES)


async def test_pages_together_are_the_whole_list(client: httpx.AsyncClient, store: Store) -> None:
    for name in NAMES:
        put(store, name)
    for limit in range(1, len(NAMES) + 2):
        seen, after = [], ""
        while True:
            page = (await client.get("/v1/files", params={"limit": limit, "after": after})).json()
            seen += [item["path"] for item in page["files"]]
            if (after := page["next_after"]) is None:
                break
            assert len(page["files"]) == limit
        assert seen == sorted(NAMES)


async def test_prefix_and_after_select_as_filters_would(client: httpx.AsyncClient, store: Store) -> None:
    for name in NAMES:
        put(store, name)
    marks = ["", "a", "a-", "a/", "a/b", "a/b/", "a/b/c", "a/zz", "b/a", "b0", "zz", "a b", "..", "/"]
    for prefix in marks:
        for after in marks:
            expected = sorted(name for name in NAMES if name.startswith(prefix) and name > after)
            assert await paths(client, prefix=prefix, after=after) == expected, (prefix, after)


@pytest.mark.parametrize("limit", [0, 1001, "many"])
async def test_a_wrong_limit_is_refused(client: httpx.AsyncClient, limit: str | int) -> None:
    response = await client.get("/v1/files", params={"limit": limit})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "limit"


async def test_a_damaged_entry_hides_only_its_own_file(client: httpx.AsyncClient, store: Store, root: Path) -> None:
    for name in ("a", "b", "c"):
        put(store, name)
    (root / "entries/b@").write_text('{"path": "b", "sha256": "../../..", "size": 1}')
    assert await paths(client) == ["a", "c"]
    response = await client.get("/v1/files/b")
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "damaged_file"
    store.recover()
    assert len(list(root.glob("blobs/*/*"))) == 3, "the content of an entry that can't be read is kept"
    assert (await client.put("/v1/files/b", content=b"new", headers={"If-None-Match": "*"})).status_code == 412
    assert (await client.put("/v1/files/b", content=b"new")).status_code == 200
    assert (await client.get("/v1/files/b")).content == b"new"
