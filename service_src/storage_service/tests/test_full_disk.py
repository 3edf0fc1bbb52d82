"""A volume that is full, or becomes so: a clear refusal, no leftovers, and reads go on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from storage_service.settings import StorageSettings

MIB = 1 << 20
RESERVE = 2 * MIB


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "volume"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(mount)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        pytest.skip(f"a small file system can't be mounted here: {result.stderr.strip()}")
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)


@pytest.fixture
def settings(root: Path) -> StorageSettings:
    return StorageSettings(root=root, min_free_bytes=RESERVE, max_file_bytes=64 * MIB)


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield os.urandom(MIB)


async def test_a_file_that_does_not_fit_is_refused_before_it_is_read(client: httpx.AsyncClient, root: Path) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    response = await client.put("/v1/files/large", content=never(), headers={"Content-Length": str(7 * MIB)})
    assert response.status_code == 507
    assert f"needs {7 * MIB} bytes" in response.json()["error"]["message"]
    assert response.headers["Connection"] == "close"
    assert os.listdir(root / "tmp") == []


async def test_a_file_of_unknown_size_stops_at_the_reserve(client: httpx.AsyncClient, root: Path) -> None:
    assert (await client.put("/v1/files/small", content=pieces(2))).status_code == 201
    response = await client.put("/v1/files/large", content=pieces(8))
    assert response.status_code == 507
    assert response.json()["error"]["code"] == "insufficient_storage"
    assert os.listdir(root / "tmp") == []
    assert (await client.get("/v1/files/large")).status_code == 404
    assert len((await client.get("/v1/files/small")).content) == 2 * MIB
    assert (await client.put("/v1/files/again", content=pieces(2))).status_code == 201


class TestWithoutReserve:
    @pytest.fixture
    def settings(self, root: Path) -> StorageSettings:
        return StorageSettings(root=root, min_free_bytes=0, max_file_bytes=64 * MIB)

    async def test_a_disk_filled_by_others_midway_is_a_507(
        self, client: httpx.AsyncClient, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await client.put("/v1/files/name", content=b"old")
        # Others fill the disk between the look at the free space and the write.
        monkeypatch.setattr("storage_service.volume.Volume.require_space", lambda *_: None)
        response = await client.put("/v1/files/name", content=pieces(9))
        assert response.status_code == 507
        assert "No space left on device" in response.json()["error"]["message"]
        assert os.listdir(root / "tmp") == []
        assert (await client.get("/v1/files/name")).content == b"old"

    async def test_a_full_disk_is_ready_and_can_be_read_and_emptied(
        self, client: httpx.AsyncClient, root: Path
    ) -> None:
        await client.put("/v1/files/name", content=pieces(1))
        numbers = os.statvfs(root)
        (root / "filler").write_bytes(bytes(numbers.f_bavail * numbers.f_frsize))
        response = await client.put("/v1/files/other", content=b"x")
        assert response.status_code == 507
        assert len((await client.get("/v1/files/name")).content) == MIB
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.get("/v1/stats")).json()["free_bytes"] == 0
        assert len(list(root.glob("blobs/*/*"))) == 1
        assert (await client.delete("/v1/files/name")).status_code == 204
        assert (await client.put("/v1/files/other", content=b"x")).status_code == 201

    async def test_an_entry_that_cannot_be_written_leaves_no_content_behind(
        self, client: httpx.AsyncClient, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await client.put("/v1/files/name", content=b"old")

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("storage_service.entries.Entries.write", full)
        assert (await client.put("/v1/files/name", content=b"new")).status_code == 507
        assert (await client.put("/v1/files/name", content=b"old")).status_code == 507
        assert (await client.get("/v1/files/name")).content == b"old"
        assert [blob.read_bytes() for blob in root.glob("blobs/*/*")] == [b"old"]
