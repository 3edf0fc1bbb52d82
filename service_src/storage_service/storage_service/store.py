"""The store: names, each standing for content whose sha256 is known, on a volume.

Below the root lie

    entries/…/<name>@                     what each name stands for (small JSON files)
    blobs/<sha256>/<sha256 of the name>   the contents, equal ones linked to one file
    tmp/                                  what is being written
    lock                                  held while a name changes

A name changes by one rename of its entry, after the content is safely in place; so it stands for
the whole old content or the whole new one, whenever the process or the machine stops. What a
stopped process left behind is removed at the next start, which a live process doesn't notice.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from storage_service.blobs import Blobs
from storage_service.conditions import Conditions, etag
from storage_service.entries import Entries, Entry
from storage_service.errors import ConditionFailed, DamagedFile, NoSuchFile, VolumeFailed
from storage_service.names import check_name, name_key
from storage_service.volume import Space, TempFile, Volume, volume_action

# Changes by another process, which shares the volume during an update only, are seen after this time.
USAGE_MAX_AGE_SECONDS = 10.0
_DAMAGED_ETAG = '"damaged"'
_OPEN_ATTEMPTS = 100

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Usage:
    """How many files there are and the sum of their sizes; equal contents count for each name."""

    files: int
    bytes: int


class OpenFile:
    """A file being read; the content stays the same whatever happens to the name meanwhile."""

    def __init__(self, entry: Entry, handle: int) -> None:
        self.entry = entry
        self._handle = handle

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes; DamagedFile if they aren't there."""
        with volume_action("read"):
            data = os.pread(self._handle, length, offset)
        if len(data) != length:
            end = offset + len(data)
            raise DamagedFile(self.entry.path, f"it ends after {end} of {self.entry.size} bytes")
        return data

    def close(self) -> None:
        os.close(self._handle)


class Store:
    """All its methods block and may be called from any thread."""

    def __init__(self, root: Path, min_free_bytes: int = 0) -> None:
        """OSError when the root isn't a directory that can be written."""
        self._volume = Volume(root, min_free_bytes)
        self._entries = Entries(self._volume)
        self._blobs = Blobs(self._volume)
        self._usage_lock = threading.Lock()
        self._usage: tuple[int, float, Usage] | None = None
        self._changes = 0

    def recover(self) -> None:
        """Removes what stopped processes left: their temporary files, and contents without a name."""
        temp_files = self._volume.remove_dead_temp_files()
        with self._volume.locked():
            wanted, unsure = self._references()
            contents = self._blobs.collect(wanted, unsure)
        if temp_files or contents:
            log.info("removed leftovers", extra={"temp_files": temp_files, "contents": contents})

    def _references(self) -> tuple[set[tuple[str, str]], set[str]]:
        """The links that entries refer to, and the keys of names whose entry can't be read."""
        wanted, unsure = set(), set()
        for name in self._entries.names():
            try:
                entry = self._entries.read(name)
            except DamagedFile as error:
                log.error("damaged entry", extra={"path": name, "reason": str(error)})
                unsure.add(name_key(name))
            else:
                if entry is not None:
                    wanted.add((entry.sha256, name_key(name)))
        return wanted, unsure

    def begin(self, name: str, conditions: Conditions, announced: int | None) -> TempFile:
        """Starts an upload: a file to write to, unless it is plain already that it can't succeed."""
        self._check(check_name(name), conditions)
        self._volume.require_space(announced or 0)
        with volume_action("write"):
            return TempFile(self._volume)

    def append(self, temp: TempFile, data: bytes | bytearray) -> None:
        self._volume.require_space(len(data))
        temp.write(data)

    def commit(self, name: str, temp: TempFile, content_type: str, conditions: Conditions) -> tuple[Entry, bool]:
        """Gives the name the content of a synced file; the new entry, and whether the name is new."""
        created = datetime.now(UTC).isoformat(timespec="milliseconds")
        entry = Entry(check_name(name), temp.size, temp.sha256, content_type, created)
        with volume_action("write"), self._volume.locked():
            exists, old = self._check(name, conditions)
            try:
                self._blobs.keep(temp, name)
                self._entries.write(entry)
            finally:  # the old content after a success, the new one after a failure
                for sha256 in {entry.sha256, old.sha256 if old else entry.sha256}:
                    self._drop_unless_current(name, sha256)
                self._changes += 1
        return entry, not exists

    def _drop_unless_current(self, name: str, sha256: str) -> None:
        current = self._entries.read(name)
        if current is None or current.sha256 != sha256:
            self._blobs.remove(sha256, name_key(name))

    def delete(self, name: str, conditions: Conditions) -> None:
        with volume_action("delete"), self._volume.locked():
            exists, old = self._check(check_name(name), conditions)
            if not exists:
                raise NoSuchFile(name)
            self._entries.remove(name)
            if old is not None:
                self._blobs.remove(old.sha256, name_key(name))
            self._changes += 1

    def _check(self, name: str, conditions: Conditions) -> tuple[bool, Entry | None]:
        """Whether the name exists, and its entry if that can be read; ConditionFailed if refused."""
        try:
            entry = self._entries.read(name)
            tag = etag(entry.sha256) if entry else None
        except DamagedFile:  # can be replaced and deleted all the same
            entry, tag = None, _DAMAGED_ETAG
        if conditions.write_fails(tag):
            raise ConditionFailed(name, tag)
        return tag is not None, entry

    def entry(self, name: str) -> Entry:
        entry = self._entries.read(check_name(name))
        if entry is None:
            raise NoSuchFile(name)
        return entry

    def open(self, name: str) -> OpenFile:
        """Opens the file; DamagedFile when its content is missing or has another size."""
        for _ in range(_OPEN_ATTEMPTS):
            entry = self.entry(name)
            try:
                handle = self._blobs.open(entry.sha256, name)
            except FileNotFoundError as error:
                if self.entry(name) == entry:
                    raise DamagedFile(name, "its content is missing") from error
                continue  # replaced between the two steps
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR):
                    raise DamagedFile(name, "its content is not a plain file") from error
                raise VolumeFailed("read", error) from error
            size = os.fstat(handle).st_size
            if size != entry.size:
                os.close(handle)
                raise DamagedFile(name, f"it has {size} bytes instead of {entry.size}")
            return OpenFile(entry, handle)
        raise VolumeFailed("read", OSError(errno.EAGAIN, "the file is replaced too often"))

    def page(self, prefix: str, after: str, limit: int) -> list[Entry]:
        """Up to ``limit`` entries in the order of their names, from the first after ``after``."""
        with volume_action("list"):
            return list(itertools.islice(self._readable(prefix, after), limit))

    def _readable(self, prefix: str = "", after: str = "") -> Iterator[Entry]:
        for name in self._entries.names(prefix, after):
            try:
                entry = self._entries.read(name)
            except DamagedFile as error:
                log.error("damaged entry", extra={"path": name, "reason": str(error)})
            else:
                if entry is not None:  # else deleted meanwhile
                    yield entry

    def usage(self) -> Usage:
        with self._usage_lock:
            changes, now = self._changes, time.monotonic()
            if self._usage is not None:
                counted_changes, counted_at, usage = self._usage
                if counted_changes == changes and now - counted_at < USAGE_MAX_AGE_SECONDS:
                    return usage
            with volume_action("list"):
                sizes = [entry.size for entry in self._readable()]
            usage = Usage(len(sizes), sum(sizes))
            self._usage = (changes, now, usage)
            return usage

    def space(self) -> Space:
        with volume_action("read"):
            return self._volume.space()

    def is_writable(self) -> bool:
        with volume_action("read"):
            return self._volume.is_writable()
