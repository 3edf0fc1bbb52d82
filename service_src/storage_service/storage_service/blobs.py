"""The contents: each name has a link of its own to them, and equal contents are stored once.

The content of a name lies at ``blobs/<sha256>/<sha256 of the name>``. Names with the same bytes
hold hard links to the same file, so the file system counts the references: removing one name's
link can't take the bytes from another.
"""

from __future__ import annotations

import contextlib
import os

from storage_service.names import name_key
from storage_service.volume import TempFile, Volume, open_plain

_ROOT = "blobs"


class Blobs:
    """The contents on a volume. ``keep`` and ``remove`` need the volume's lock."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume

    def open(self, sha256: str, name: str) -> int:
        """A handle that goes on reading even when the name is replaced or removed meanwhile."""
        with self._volume.directory([_ROOT, sha256]) as directory:
            return open_plain(name_key(name), directory)

    def keep(self, temp: TempFile, name: str) -> None:
        """Gives the name the content of a synced temporary file, durably."""
        key = name_key(name)
        with self._volume.directory([_ROOT, temp.sha256], create=True) as directory:
            same = self._find(directory, key, temp.size)
            if same != key:
                try:
                    if same is None:
                        raise FileNotFoundError
                    os.link(same, key, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
                except OSError:  # nothing to link to, too many links, a damaged one there, no links here
                    temp.move_to(key, directory)
            os.fsync(directory)

    @staticmethod
    def _find(directory: int, key: str, size: int) -> str | None:
        """A file of the right size that already holds the content, the name's own if there is one."""
        with os.scandir(directory) as found:
            items = sorted(found, key=lambda item: item.name != key)
        for item in items:
            if item.is_file(follow_symlinks=False) and item.stat(follow_symlinks=False).st_size == size:
                return item.name
        return None

    def remove(self, sha256: str, key: str) -> None:
        """Removes one name's link, and with the last one the content."""
        with contextlib.suppress(FileNotFoundError), self._volume.directory([_ROOT, sha256]) as directory:
            os.unlink(key, dir_fd=directory)
        self._remove_if_empty(sha256)

    def collect(self, wanted: set[tuple[str, str]], unsure: set[str]) -> int:
        """Removes the links that are neither ``wanted`` (sha256, name key) nor of an ``unsure`` name key."""
        removed = 0
        with self._volume.directory([_ROOT], create=True) as directory:
            digests = os.listdir(directory)
        for sha256 in digests:
            with (
                contextlib.suppress(FileNotFoundError, NotADirectoryError),
                self._volume.directory([_ROOT, sha256]) as directory,
            ):
                for key in os.listdir(directory):
                    if (sha256, key) not in wanted and key not in unsure:
                        os.unlink(key, dir_fd=directory)
                        removed += 1
            self._remove_if_empty(sha256)
        return removed

    def _remove_if_empty(self, sha256: str) -> None:
        with contextlib.suppress(OSError), self._volume.directory([_ROOT]) as directory:
            os.rmdir(sha256, dir_fd=directory)
