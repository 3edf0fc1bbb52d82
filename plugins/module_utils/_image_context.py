# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is sent to the engine to build an image: the files, their fingerprint, the tar stream."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO

from ansible_collections.llm.orchestrator.plugins.module_utils._image_engine import ImageError

EXCLUDED = ("tests", "__pycache__", "*.egg-info", "*.pyc", ".venv", ".git", ".*_cache")


@dataclass(frozen=True)
class ContextFile:
    """A file or symbolic link of the build context; name is relative to it, path is where it lies."""

    name: str
    path: str
    executable: bool
    link: str


def collect(context: str, include: Iterable[str], extra_files: Mapping[str, str]) -> list[ContextFile]:
    """The files below the included sub-paths of context, and files from elsewhere by name in it; sorted by name."""
    if not os.path.isdir(context):
        raise ImageError(f"The build context {context} is not a directory")
    root = os.path.abspath(context)
    files: dict[str, ContextFile] = {}
    for part in include:
        start = os.path.normpath(os.path.join(root, part))
        if start != root and not start.startswith(root + os.sep):
            raise ImageError(f"include: {part} lies outside the build context {context}")
        if not os.path.lexists(start):
            raise ImageError(f"include: {part} does not exist in the build context {context}")
        for path in _walk(start):
            name = os.path.relpath(path, root)
            files[name] = _describe(name, path)
    for name, path in extra_files.items():
        if not os.path.isfile(path):
            raise ImageError(f"extra_files: {path} is not a file")
        files[name] = ContextFile(name, path, executable=False, link="")
    return [files[name] for name in sorted(files)]


def fingerprint(
    files: Iterable[ContextFile], dockerfile: str, build_args: Mapping[str, str], bases: Iterable[str]
) -> str:
    """SHA-256 over all that decides what the built image holds; times and owners don't."""
    total = hashlib.sha256()
    for file in files:
        _add(total, "link" if file.link else "exec" if file.executable else "file", file.name, _digest(file))
    _add(total, "dockerfile", dockerfile)
    for key in sorted(build_args):
        _add(total, "arg", key, build_args[key])
    for base in sorted(bases):
        _add(total, "base", base)
    return total.hexdigest()


def write_tar(files: Iterable[ContextFile], stream: IO[bytes]) -> None:
    """The build context, as the engine takes it."""
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for file in files:
            entry = tarfile.TarInfo(file.name)
            if file.link:
                entry.type, entry.linkname = tarfile.SYMTYPE, file.link
                tar.addfile(entry)
                continue
            with open(file.path, "rb") as content:
                entry.mode = 0o755 if file.executable else 0o644
                entry.size = content.seek(0, io.SEEK_END)
                content.seek(0)
                tar.addfile(entry, content)


def _walk(start: str) -> Iterator[str]:
    if os.path.islink(start) or os.path.isfile(start):
        yield start
        return
    for directory, folders, names in os.walk(start):
        linked = [folder for folder in folders if os.path.islink(os.path.join(directory, folder))]
        folders[:] = [folder for folder in folders if folder not in linked and not _excluded(folder)]
        for name in names + linked:
            path = os.path.join(directory, name)
            if not _excluded(name) and (os.path.islink(path) or os.path.isfile(path)):
                yield path


def _excluded(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in EXCLUDED)


def _describe(name: str, path: str) -> ContextFile:
    status = os.lstat(path)
    link = os.readlink(path) if stat.S_ISLNK(status.st_mode) else ""
    return ContextFile(name, path, bool(status.st_mode & stat.S_IXUSR), link)


def _digest(file: ContextFile) -> str:
    if file.link:
        return file.link
    digest = hashlib.sha256()
    with open(file.path, "rb") as content:
        for chunk in iter(lambda: content.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def _add(total: hashlib._Hash, *fields: str) -> None:
    # Lengths first, so that no two different lists of fields read the same.
    for field in fields:
        data = field.encode("utf-8", "surrogateescape")
        total.update(b"%d:" % len(data) + data)
    total.update(b"\n")
