"""The store for the event loop: each blocking call runs in one of a bounded number of threads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from storage_service.conditions import Conditions
from storage_service.entries import Entry
from storage_service.errors import DigestMismatch, UploadIncomplete, UploadStalled
from storage_service.metrics import BYTES_READ, BYTES_WRITTEN
from storage_service.store import OpenFile, Store
from storage_service.volume import TempFile

# Large enough that the change of thread costs little beside the hashing and writing.
WRITE_BYTES = 1 << 20
READ_BYTES = 256 << 10

Result = TypeVar("Result")


class SenderGone(Exception):
    """The client went away before the end of its upload."""


@dataclass(frozen=True)
class Upload:
    """What a client says about the body that it sends; ``size`` is None when it doesn't know."""

    name: str
    size: int | None
    digests: frozenset[str]
    content_type: str
    conditions: Conditions


class Transfers:
    """Uploads, downloads and everything else that the routes ask of the store."""

    def __init__(self, store: Store, io_threads: int, upload_idle_seconds: float) -> None:
        self._store = store
        self._upload_idle_seconds = upload_idle_seconds
        self._threads = CapacityLimiter(io_threads)
        # The store makes one change at a time: waiting for that must not take threads from readers.
        self._changes = CapacityLimiter(1)

    async def call(self, function: Callable[..., Result], *args: object) -> Result:
        """Runs one of the store's methods that change no name."""
        return await to_thread.run_sync(function, *args, limiter=self._threads)

    async def receive(self, upload: Upload, chunks: AsyncIterator[bytes]) -> tuple[Entry, bool]:
        """Stores an upload; the new entry and whether its name is new. Until then nothing is visible."""
        temp = await self.call(self._store.begin, upload.name, upload.conditions, upload.size)
        try:
            await self._write(temp, upload, chunks)
            if upload.size is not None and temp.size != upload.size:
                raise UploadIncomplete(temp.size, upload.size)
            for digest in upload.digests - {temp.sha256}:
                raise DigestMismatch(digest, temp.sha256)
            # Most of a commit's time is the sync of the data, which others need not wait for.
            await self.call(temp.sync)
            return await to_thread.run_sync(
                self._store.commit,
                upload.name,
                temp,
                upload.content_type,
                upload.conditions,
                limiter=self._changes,
            )
        finally:
            with anyio.CancelScope(shield=True):
                await self.call(temp.close)

    async def _write(self, temp: TempFile, upload: Upload, chunks: AsyncIterator[bytes]) -> None:
        buffer = bytearray()
        received = 0
        while True:
            try:
                with anyio.fail_after(self._upload_idle_seconds):
                    chunk = await anext(chunks, None)
            except TimeoutError as error:
                raise UploadStalled(received, self._upload_idle_seconds) from error
            except SenderGone as error:
                raise UploadIncomplete(received, upload.size) from error
            if chunk is not None:
                received += len(chunk)
                buffer += chunk
            if len(buffer) >= WRITE_BYTES or (chunk is None and buffer):
                await self.call(self._store.append, temp, buffer)
                BYTES_WRITTEN.inc(len(buffer))
                buffer = bytearray()
            if chunk is None:
                return

    async def send(self, file: OpenFile, part: range) -> AsyncIterator[bytes]:
        """The bytes of the file in ``part``, in pieces of bounded size."""
        for offset in range(part.start, part.stop, READ_BYTES):
            data = await self.call(file.read, offset, min(READ_BYTES, part.stop - offset))
            BYTES_READ.inc(len(data))
            yield data

    async def delete(self, name: str, conditions: Conditions) -> None:
        await to_thread.run_sync(self._store.delete, name, conditions, limiter=self._changes)
