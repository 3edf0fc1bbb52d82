"""The primitives on the volume: directories, plain files, temporary files, the lock, free space.

Paths are resolved one directory at a time from the root's handle and never through a symbolic
link, so nothing that lies on the volume can lead out of it. Several processes may use one volume,
as old and new do during an update: whatever changes names happens under one lock, and a temporary
file carries a lock of its own, which tells a live writer's file from a dead one's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage_service.errors import NoSpace, VolumeFailed

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Non-blocking matters only should someone have put a FIFO there: opening it would hang.
_PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TEMP = "tmp"
_LOCK = "lock"


@dataclass(frozen=True)
class Space:
    """Of the file system that holds the volume, in bytes; ``free`` is what this user may still use."""

    free: int
    total: int


@contextlib.contextmanager
def volume_action(action: str) -> Iterator[None]:
    """Turns an operating system error into the line that the client reads."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"The storage volume is full: {error.strerror}") from error
        raise VolumeFailed(action, error) from error


class Volume:
    """The directory that holds everything; creates it and what it needs, OSError if it can't."""

    def __init__(self, root: Path, min_free_bytes: int = 0) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._min_free_bytes = min_free_bytes
        with self.locked(), self.directory([_TEMP], create=True) as temp:
            self.temp_directory = os.dup(temp)
        TempFile(self).close()  # proves that files can be written

    @contextlib.contextmanager
    def directory(self, parts: Sequence[str], *, create: bool = False) -> Iterator[int]:
        """A handle on a directory below the root; ``create`` makes what is missing, durably."""
        handle = os.dup(self._root)
        try:
            for part in parts:
                if create:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o750, dir_fd=handle)
                        os.fsync(handle)
                child = os.open(part, _DIRECTORY, dir_fd=handle)
                os.close(handle)
                handle = child
            yield handle
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Excludes every other thread and process that changes names on this volume."""
        lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640, dir_fd=self._root)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def space(self) -> Space:
        numbers = os.fstatvfs(self._root)
        return Space(free=numbers.f_bavail * numbers.f_frsize, total=numbers.f_blocks * numbers.f_frsize)

    def require_space(self, size: int) -> None:
        """NoSpace unless ``size`` more bytes leave the reserve untouched."""
        free = self.space().free
        usable = max(0, free - self._min_free_bytes)
        if size > usable or free < self._min_free_bytes:
            raise NoSpace(
                f"The file needs {size} bytes and the storage volume has {usable} left"
                f" ({free} free, {self._min_free_bytes} kept in reserve)"
            )

    def is_writable(self) -> bool:
        read_only = os.fstatvfs(self._root).f_flag & os.ST_RDONLY
        return not read_only and os.access(_TEMP, os.W_OK, dir_fd=self._root)

    def remove_dead_temp_files(self) -> int:
        """Removes the temporary files whose writer is gone; returns how many."""
        removed = 0
        for name in os.listdir(self.temp_directory):
            # A live writer holds the file's lock, or has just moved it to its place; and what isn't
            # a plain file isn't ours.
            with contextlib.suppress(OSError):
                handle = open_plain(name, self.temp_directory)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(name, dir_fd=self.temp_directory)
                    removed += 1
                finally:
                    os.close(handle)
        return removed


class TempFile:
    """A new file without a name that anyone looks for, hashed while it is written."""

    def __init__(self, volume: Volume) -> None:
        self._directory = volume.temp_directory
        self._hash = hashlib.sha256()
        self._moved = False
        self.size = 0
        while True:
            self._name = uuid.uuid4().hex
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._handle = os.open(self._name, flags, 0o640, dir_fd=self._directory)
            if self._claim():
                break
            os.close(self._handle)  # another process, cleaning up at its start, was faster

    def _claim(self) -> bool:
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return os.fstat(self._handle).st_nlink > 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes | bytearray) -> None:
        with volume_action("write"), memoryview(data) as rest:
            written = 0
            while written < len(rest):
                written += os.write(self._handle, rest[written:])
        self._hash.update(data)
        self.size += len(data)

    def sync(self) -> None:
        """Returns once the bytes would survive a power failure."""
        with volume_action("write"):
            os.fsync(self._handle)

    def move_to(self, name: str, directory: int) -> None:
        """Gives the file its place, over what may be there; the directory is not yet synced."""
        os.rename(self._name, name, src_dir_fd=self._directory, dst_dir_fd=directory)
        self._moved = True

    def close(self) -> None:
        """Removes the file unless it was moved to its place."""
        try:
            if not self._moved:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._name, dir_fd=self._directory)
        finally:
            os.close(self._handle)


def open_plain(name: str, directory: int) -> int:
    """Opens a regular file for reading; OSError ELOOP for a link or anything else that is none."""
    handle = os.open(name, _PLAIN, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.ELOOP, "it is not a plain file")
    return handle
