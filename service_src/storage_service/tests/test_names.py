"""Which names are files, which are refused, and that none leads out of the volume."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_service.errors import NameRefused
from storage_service.names import check_name
from storage_service.store import Store

ALLOWED = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


@pytest.mark.parametrize(
    "name",
    ["a", "models/SmolLM2-135M.Q8_0.gguf", "-", "_", "a..b", "a/b/c", "x" * 254, "/".join(["dir"] * 32)],
)
async def test_a_plain_relative_name_is_a_file(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.put(f"/v1/files/{name}", content=name.encode())).status_code == 201
    assert (await client.get(f"/v1/files/{name}")).content == name.encode()
    assert (await client.get("/v1/files")).json()["files"][0]["path"] == name


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/etc/passwd",
        "a//b",
        "a/",
        "..",
        "../secret",
        "a/../../secret",
        "%2e%2e/secret",
        "%2E%2E%2Fsecret",
        "..%2fsecret",
        "%252e%252e%252fsecret",
        "%2fetc%2fpasswd",
        "..%5csecret",
        ".",
        "./a",
        ".hidden",
        "a/.hidden",
        "a%00b",
        "a%20b",
        "a@",
        "caf%C3%A9",
        "x" * 255,
        "x/" * 32 + "x",
        "/".join(["x" * 200] * 6),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "GET", "HEAD", "DELETE"])
async def test_any_other_name_is_refused(client: httpx.AsyncClient, root: Path, method: str, path: str) -> None:
    (root.parent / "secret").write_text("untouched")
    raw_path = f"/v1/files/{path}".replace(".", "%2e")  # the client would resolve the dots itself
    url = httpx.URL("http://storage").copy_with(raw_path=raw_path.encode())
    response = await client.request(method, url, content=b"evil" if method == "PUT" else None)
    assert response.status_code == 400
    if method != "HEAD":
        assert response.json()["error"]["code"] == "invalid_path"
    assert (root.parent / "secret").read_text() == "untouched"
    assert list(root.glob("entries/**/*")) == list(root.glob("blobs/*")) == list(root.glob("tmp/*")) == []


@given(st.text(alphabet="ab./_-@%\\ \x00é", max_size=12) | st.text(max_size=12))
def test_exactly_the_documented_names_are_accepted(name: str) -> None:
    if ALLOWED.fullmatch(name):
        assert check_name(name) == name
    else:
        with pytest.raises(NameRefused):
            check_name(name)


async def test_a_link_on_the_volume_is_not_followed(
    client: httpx.AsyncClient, store: Store, root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    await client.put("/v1/files/inside/file", content=b"inside")
    (outside / "file@").write_bytes((root / "entries/inside/file@").read_bytes())
    (root / "entries/linked").symlink_to(outside)
    (root / "entries/file@").symlink_to(outside / "file@")
    assert (await client.get("/v1/files/linked/file")).status_code == 404
    assert (await client.get("/v1/files/file")).status_code == 500
    assert (await client.put("/v1/files/linked/new", content=b"x")).status_code == 500
    assert [item["path"] for item in (await client.get("/v1/files")).json()["files"]] == ["inside/file"]
    assert sorted(path.name for path in outside.iterdir()) == ["file@"]

    blob = next(root.glob("blobs/*/*"))
    (outside / "inside").write_bytes(b"inside")
    blob.unlink()
    blob.symlink_to(outside / "inside")
    response = await client.get("/v1/files/inside/file")
    assert response.status_code == 500
    assert "not a plain file" in response.json()["error"]["message"]
