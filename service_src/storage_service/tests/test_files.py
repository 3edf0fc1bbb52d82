"""Each verb on files, through the application."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

BODY = b"some bytes of a model"
SHA256 = hashlib.sha256(BODY).hexdigest()
BASE64 = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
OTHER = hashlib.sha256(b"other").hexdigest()
OTHER_BASE64 = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
URL = "/v1/files/models/tiny.gguf"


def leftovers(root: Path) -> list[Path]:
    return list((root / "tmp").iterdir())


def blobs(root: Path) -> list[Path]:
    return [path for path in root.glob("blobs/*/*") if path.is_file()]


async def test_a_new_file_is_created_and_described(client: httpx.AsyncClient) -> None:
    response = await client.put(URL, content=BODY, headers={"Content-Type": "model/gguf"})
    assert response.status_code == 201
    assert response.headers["ETag"] == f'"{SHA256}"'
    info = response.json()
    assert info.pop("created").endswith("Z")
    assert info == {
        "path": "models/tiny.gguf",
        "size": len(BODY),
        "sha256": SHA256,
        "content_type": "model/gguf",
    }


async def test_what_was_put_is_got(client: httpx.AsyncClient) -> None:
    await client.put(URL, content=BODY, headers={"Content-Type": "model/gguf"})
    response = await client.get(URL)
    assert (response.status_code, response.content) == (200, BODY)
    assert response.headers["Content-Type"] == "model/gguf"
    assert response.headers["Content-Length"] == str(len(BODY))
    assert response.headers["ETag"] == f'"{SHA256}"'
    assert response.headers["Repr-Digest"] == f"sha-256=:{BASE64}:"
    assert response.headers["Accept-Ranges"] == "bytes"


async def test_a_stored_page_cannot_act_in_a_browser(client: httpx.AsyncClient) -> None:
    await client.put("/v1/files/page.html", content=b"<script>", headers={"Content-Type": "text/html"})
    response = await client.get("/v1/files/page.html")
    assert response.headers["Content-Security-Policy"].startswith("sandbox")
    assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_an_empty_file_is_a_file(client: httpx.AsyncClient) -> None:
    assert (await client.put(URL, content=b"")).status_code == 201
    response = await client.get(URL, headers={"Range": "bytes=0-"})
    assert (response.status_code, response.content) == (200, b"")


async def test_head_describes_the_file_without_its_bytes(client: httpx.AsyncClient) -> None:
    await client.put(URL, content=BODY)
    response = await client.head(URL, headers={"Range": "bytes=0-1"})
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Content-Length"] == str(len(BODY))
    assert response.headers["Content-Type"] == "application/octet-stream"


async def test_replacing_a_file_removes_the_old_bytes(client: httpx.AsyncClient, root: Path) -> None:
    await client.put(URL, content=b"old")
    response = await client.put(URL, content=BODY)
    assert response.status_code == 200
    assert (await client.get(URL)).content == BODY
    assert [blob.read_bytes() for blob in blobs(root)] == [BODY]


async def test_a_deleted_file_is_gone_with_its_bytes(client: httpx.AsyncClient, root: Path) -> None:
    await client.put(URL, content=BODY)
    response = await client.delete(URL)
    assert (response.status_code, response.content) == (204, b"")
    for method in ("GET", "HEAD", "DELETE"):
        assert (await client.request(method, URL)).status_code == 404
    assert list(root.glob("blobs/*")) == list(root.glob("entries/*")) == []


async def test_a_missing_file_is_named_in_the_error(client: httpx.AsyncClient) -> None:
    response = await client.get(URL)
    assert response.status_code == 404
    error = response.json()["error"]
    assert error["message"] == "There is no file models/tiny.gguf"
    assert error["code"] == "file_not_found"


async def test_a_file_and_a_directory_may_have_the_same_name(client: httpx.AsyncClient) -> None:
    for name in ("a", "a/b", "a/b/c"):
        assert (await client.put(f"/v1/files/{name}", content=name.encode())).status_code == 201
    await client.delete("/v1/files/a/b")
    assert (await client.get("/v1/files/a")).content == b"a"
    assert (await client.get("/v1/files/a/b")).status_code == 404
    assert (await client.get("/v1/files/a/b/c")).content == b"a/b/c"


async def test_equal_contents_are_stored_once(client: httpx.AsyncClient, root: Path) -> None:
    for name in ("one", "two", "three"):
        await client.put(f"/v1/files/{name}", content=BODY)
    assert len({blob.stat().st_ino for blob in blobs(root)}) == 1
    await client.delete("/v1/files/one")
    await client.put("/v1/files/two", content=b"changed")
    assert (await client.get("/v1/files/three")).content == BODY


@pytest.mark.parametrize(
    "header",
    [
        {"X-Content-SHA256": SHA256},
        {"X-Content-SHA256": SHA256.upper()},
        {"Content-Digest": f"sha-256=:{BASE64}:"},
        {"Content-Digest": f"md5=:AAAA:, sha-256=:{BASE64}:"},
        {"Repr-Digest": f"sha-256=:{BASE64}:"},
        {"Digest": f"SHA-256={BASE64}"},
    ],
)
async def test_a_right_digest_is_accepted(client: httpx.AsyncClient, header: dict[str, str]) -> None:
    assert (await client.put(URL, content=BODY, headers=header)).status_code == 201


@pytest.mark.parametrize(
    "header",
    [
        {"X-Content-SHA256": OTHER},
        {"Content-Digest": f"sha-256=:{OTHER_BASE64}:"},
        {"Digest": f"sha-256={OTHER_BASE64}"},
        {"X-Content-SHA256": SHA256, "Repr-Digest": f"sha-256=:{OTHER_BASE64}:"},
    ],
)
async def test_a_wrong_digest_leaves_the_old_file(
    client: httpx.AsyncClient, root: Path, header: dict[str, str]
) -> None:
    await client.put(URL, content=b"old")
    response = await client.put(URL, content=BODY, headers=header)
    assert response.status_code == 422
    assert SHA256 in response.json()["error"]["message"]
    assert (await client.get(URL)).content == b"old"
    assert leftovers(root) == []
    assert len(blobs(root)) == 1


@pytest.mark.parametrize(
    "header",
    [
        {"X-Content-SHA256": "12"},
        {"Content-Digest": "sha-512=:AAAA:"},
        {"Content-Digest": f"sha-256={BASE64}"},
        {"Content-Digest": "sha-256=:A:"},
        {"Digest": "sha-256=AAAA"},
        {"Content-Range": "bytes 0-1/2"},
        {"Content-Encoding": "gzip"},
        {"Content-Type": ""},
        {"If-Match": "unquoted"},
    ],
)
async def test_a_header_that_cannot_be_obeyed_is_refused(client: httpx.AsyncClient, header: dict[str, str]) -> None:
    response = await client.put(URL, content=BODY, headers=header)
    assert response.status_code == 400
    assert next(iter(header)) in response.json()["error"]["message"]
    assert (await client.get(URL)).status_code == 404


async def test_a_body_shorter_than_announced_is_refused(client: httpx.AsyncClient, root: Path) -> None:
    response = await client.put(URL, content=BODY, headers={"Content-Length": "1000"})
    assert response.status_code == 400
    assert f"after {len(BODY)} of 1000 bytes" in response.json()["error"]["message"]
    assert (await client.get(URL)).status_code == 404
    assert leftovers(root) == blobs(root) == []


async def test_a_file_over_the_limit_is_refused(client: httpx.AsyncClient, root: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield bytes(1 << 20)

    assert (await client.put(URL, content=bytes((4 << 20) + 1))).status_code == 413
    response = await client.put(URL, content=chunks())
    assert response.status_code == 413
    assert response.headers["Connection"] == "close"
    assert leftovers(root) == blobs(root) == []


async def test_create_only_refuses_an_existing_file(client: httpx.AsyncClient) -> None:
    headers = {"If-None-Match": "*"}
    assert (await client.put(URL, content=b"old", headers=headers)).status_code == 201
    response = await client.put(URL, content=BODY, headers=headers)
    assert response.status_code == 412
    assert (await client.get(URL)).content == b"old"


async def test_if_match_guards_a_change(client: httpx.AsyncClient) -> None:
    right, wrong = {"If-Match": f'"{OTHER}", "{SHA256}"'}, {"If-Match": f'"{OTHER}"'}
    assert (await client.put(URL, content=BODY, headers=right)).status_code == 412
    await client.put(URL, content=BODY)
    assert (await client.put(URL, content=b"new", headers=wrong)).status_code == 412
    assert (await client.delete(URL, headers=wrong)).status_code == 412
    assert (await client.get(URL, headers=wrong)).status_code == 412
    assert (await client.put(URL, content=b"new", headers=right)).status_code == 200
    assert (await client.delete(URL, headers={"If-Match": "*"})).status_code == 204


@pytest.mark.parametrize("header", [f'"{SHA256}"', f'W/"{SHA256}"', f'"{OTHER}" , "{SHA256}"', "*"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_known_file_is_not_sent_again(client: httpx.AsyncClient, method: str, header: str) -> None:
    await client.put(URL, content=BODY)
    response = await client.request(method, URL, headers={"If-None-Match": header})
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["ETag"] == f'"{SHA256}"'
    assert (await client.get(URL, headers={"If-None-Match": f'"{OTHER}"'})).content == BODY


async def test_the_service_has_what_every_service_has(client: httpx.AsyncClient) -> None:
    await client.put(URL, content=BODY)
    await client.get(URL)
    assert (await client.get("/health/live")).status_code == 200
    assert (await client.get("/health/ready")).json()["checks"] == {"volume": "ok"}
    metrics = (await client.get("/metrics")).text.splitlines()
    assert "llm_storage_up 1.0" in metrics
    assert "llm_storage_files 1.0" in metrics
    assert f"llm_storage_bytes {float(len(BODY))}" in metrics
    assert any(line.startswith("llm_storage_free_bytes ") for line in metrics)
    written = next(line for line in metrics if line.startswith("llm_storage_bytes_written_total "))
    assert float(written.split()[1]) >= len(BODY)
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert set(paths["/v1/files/{path}"]) == {"put", "get", "head", "delete"}


async def test_stats_count_files_and_bytes(client: httpx.AsyncClient) -> None:
    await client.put("/v1/files/one", content=BODY)
    await client.put("/v1/files/two", content=BODY)
    stats = (await client.get("/v1/stats")).json()
    assert (stats["files"], stats["bytes"]) == (2, 2 * len(BODY))
    assert 0 < stats["free_bytes"] <= stats["total_bytes"]
    await client.delete("/v1/files/one")
    assert (await client.get("/v1/stats")).json()["files"] == 1
