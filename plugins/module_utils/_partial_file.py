# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that grows on disk while its SHA-256 is computed, and the errors of getting one."""

from __future__ import annotations

import errno
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

# Told what is going on, with bytes done and in all (None: not known).
Report = Callable[[str, int, Optional[int]], None]

CHUNK_BYTES = 1 << 20
# Never taken by a model, so that a full disk doesn't stop the host's other work.
KEEP_FREE_BYTES = 64 << 20
_BATCHES_AHEAD = 8
_FULL = (errno.ENOSPC, errno.EDQUOT)


class ModelFileError(Exception):
    """A model file can't be had; the message says what, where and what to do."""


class UnusableBytesError(ModelFileError):
    """What was fetched so far is of no use to a later run and should be removed."""


class DiskFullError(UnusableBytesError):
    """There is no room for the file."""


def require_space(directory: Path, needed: int) -> None:
    """Fail unless `needed` more bytes fit into the file system of `directory`."""
    status = os.statvfs(directory)
    free = max(0, status.f_bavail * status.f_frsize - KEEP_FREE_BYTES)
    if needed > free:
        raise DiskFullError(
            f"{directory} has room for {megabytes(free)} (with {megabytes(KEEP_FREE_BYTES)} kept free), "
            f"but {megabytes(needed)} are needed: free some space or choose another models_dir"
        )


@contextmanager
def telling_full(directory: Path) -> Iterator[None]:
    """Makes what fails for lack of room below `directory` a DiskFullError that says so."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise no_room(directory) from error
        raise


def is_full(directory: Path) -> bool:
    """Whether its file system has no room for another file, or for a few more bytes."""
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize < CHUNK_BYTES or (status.f_files > 0 and status.f_favail == 0)


def no_room(directory: Path) -> DiskFullError:
    return DiskFullError(f"{directory} is full: free some space or choose another models_dir")


def megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def file_digest(path: Path, report: Report, label: str) -> str:
    """The SHA-256 of a whole file."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        total = os.fstat(file.fileno()).st_size
        done = 0
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            report(label, done, total)
    return digest.hexdigest()


def fsync_path(path: Path) -> None:
    """Make a file's bytes, or a directory's entries, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Digest:
    """A SHA-256 that is computed in a thread of its own, while the next bytes are fetched and written."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread
        self._sha256 = hashlib.sha256()
        self._chunks: list[bytes] = []
        self._waiting = 0
        self._batches: deque[Future[None]] = deque()

    def update(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._waiting += len(chunk)
        # Handing over takes as long as computing the digest of a small chunk.
        if self._waiting >= CHUNK_BYTES:
            self._hand_over()
            if len(self._batches) > _BATCHES_AHEAD:
                self._batches.popleft().result()

    def hexdigest(self) -> str:
        self._hand_over()
        while self._batches:
            self._batches.popleft().result()
        return self._sha256.hexdigest()

    def _hand_over(self) -> None:
        chunks, self._chunks, self._waiting = self._chunks, [], 0
        self._batches.append(self._thread.submit(self._compute, chunks))

    def _compute(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            self._sha256.update(chunk)


class PartialFile:
    """The bytes of a model so far, with their digest. What an earlier run left is taken over by `take_over`.

    `expected` is the digest that the whole file has to have; None where nobody knows it.
    """

    def __init__(self, path: Path, expected: Optional[str]) -> None:
        self.path = path
        self.expected = expected
        self.size = 0
        self._room_until = 0
        self._hashing = ThreadPoolExecutor(1, "sha256")
        self._digest = _Digest(self._hashing)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def __enter__(self) -> PartialFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._hashing.shutdown()
        os.close(self._descriptor)

    def take_over(self, report: Report, label: str) -> None:
        """Read the bytes that are there already into the digest."""
        total = os.fstat(self._descriptor).st_size
        while chunk := os.read(self._descriptor, CHUNK_BYTES):
            self._digest.update(chunk)
            self.size += len(chunk)
            report(label, self.size, total)

    def restart(self) -> None:
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.size = 0
        self._room_until = 0
        self._digest = _Digest(self._hashing)

    def write(self, chunk: bytes) -> None:
        """Append at most CHUNK_BYTES."""
        if self.size + len(chunk) > self._room_until:
            require_space(self.path.parent, CHUNK_BYTES)
            self._room_until = self.size + CHUNK_BYTES
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            if error.errno in _FULL:
                raise no_room(self.path.parent) from error
            raise
        self._digest.update(chunk)
        self.size += len(chunk)

    def sync(self) -> None:
        os.fsync(self._descriptor)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()
