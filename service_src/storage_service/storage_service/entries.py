"""The names: a tree of directories like the names themselves, with one small JSON file per name.

``models/tiny.gguf`` is described by ``entries/models/tiny.gguf@``. The ``@``, which no name has,
lets a file ``a`` and a file ``a/b`` exist side by side.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from storage_service.errors import DamagedFile
from storage_service.names import is_sha256
from storage_service.volume import TempFile, Volume, open_plain

_ROOT = "entries"
_SUFFIX = "@"
_MAX_ENTRY_BYTES = 64 << 10


@dataclass(frozen=True)
class Entry:
    """What a name stands for; ``created`` is when this content got the name, RFC 3339 in UTC."""

    path: str
    size: int
    sha256: str
    content_type: str
    created: str


class Entries:
    """The entries of a volume. ``write`` and ``remove`` need the volume's lock."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume

    def read(self, name: str) -> Entry | None:
        """The name's entry, or None; DamagedFile when it can't be understood."""
        *parents, last = name.split("/")
        try:
            with self._volume.directory([_ROOT, *parents]) as directory:
                handle = open_plain(last + _SUFFIX, directory)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise DamagedFile(name, f"its entry can't be opened: {error.strerror}") from error
        try:
            with open(handle, "rb") as file:
                entry = Entry(**json.loads(file.read(_MAX_ENTRY_BYTES)))
            if entry.path != name or not is_sha256(entry.sha256) or type(entry.size) is not int:
                raise ValueError("not what was written there")
        except (OSError, ValueError, TypeError) as error:
            raise DamagedFile(name, f"its entry can't be read: {error}") from error
        return entry

    def write(self, entry: Entry) -> None:
        """Makes the name stand for the entry, at once and durably."""
        *parents, last = entry.path.split("/")
        temp = TempFile(self._volume)
        try:
            temp.write(json.dumps(asdict(entry)).encode())
            temp.sync()
            with self._volume.directory([_ROOT, *parents], create=True) as directory:
                temp.move_to(last + _SUFFIX, directory)
                os.fsync(directory)
        finally:
            temp.close()

    def remove(self, name: str) -> None:
        """Ends the name durably, and the directories that were there for it alone."""
        *parents, last = name.split("/")
        with self._volume.directory([_ROOT, *parents]) as directory:
            os.unlink(last + _SUFFIX, dir_fd=directory)
            os.fsync(directory)
        with contextlib.suppress(OSError):  # the first one that still holds something
            while parents:
                part = parents.pop()
                with self._volume.directory([_ROOT, *parents]) as directory:
                    os.rmdir(part, dir_fd=directory)

    def names(self, prefix: str = "", after: str = "") -> Iterator[str]:
        """All names with the prefix that sort after ``after``, in order of their bytes."""
        yield from self._names([], prefix, after)

    def _names(self, parents: list[str], prefix: str, after: str) -> Iterator[str]:
        above = "".join(part + "/" for part in parents)
        for child in self._children(parents):
            path = above + child
            if not child.endswith("/"):
                if path.startswith(prefix) and path > after:
                    yield path
                continue
            in_prefix = path.startswith(prefix) or prefix.startswith(path)
            if in_prefix and (path > after or after.startswith(path)):
                yield from self._names([*parents, child[:-1]], prefix, after)

    def _children(self, parents: list[str]) -> list[str]:
        """Names and, with a slash, directories: so sorted, a directory stands where its names do."""
        children = []
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            self._volume.directory([_ROOT, *parents]) as directory,
            os.scandir(directory) as found,
        ):
            for item in found:
                if item.is_dir(follow_symlinks=False):
                    children.append(item.name + "/")
                elif item.name.endswith(_SUFFIX):
                    children.append(item.name.removesuffix(_SUFFIX))
        return sorted(children)
