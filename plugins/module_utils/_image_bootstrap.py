# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Debian root file system made from Debian's packages alone, for where no image registry is reachable."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from ansible_collections.llm.orchestrator.plugins.module_utils._image_engine import LOG_TAIL_LINES, ImageError
from ansible_collections.llm.orchestrator.plugins.module_utils._progress import Progress

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Their contents, not they themselves: the container's engine fills the first three, apt and readers the others.
EMPTIED = ("dev", "proc", "sys", "var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/man", "usr/share/info")
EMPTIED_BUT_FOR_ENGLISH = "usr/share/locale"
LICENSES = "usr/share/doc"

SOURCES = """\
Types: deb
URIs: {mirror}
Suites: {suite} {suite}-updates
Components: main
Signed-By: {keyring}

Types: deb
URIs: {security_mirror}
Suites: {suite}-security
Components: main
Signed-By: {keyring}
"""


@dataclass(frozen=True)
class Release:
    """Which Debian, and where its packages come from."""

    suite: str
    mirror: str
    security_mirror: str


@contextmanager
def bootstrapped(release: Release, work_dir: str, progress: Progress) -> Iterator[Path]:
    """The new root file system's directory, which lasts as long as the context."""
    if os.geteuid() != 0:
        raise ImageError("Bootstrapping Debian needs root: run the task with become")
    if not shutil.which("debootstrap"):
        raise ImageError("debootstrap is missing: install it, or make the image to pull reachable")
    parent = Path(work_dir)
    parent.mkdir(parents=True, exist_ok=True)
    root = parent / "root"
    with _alone(parent / "lock", progress) as lock:
        # What a killed run has left behind goes first.
        _remove(root)
        try:
            _debootstrap(release, root, parent / "debootstrap.log", lock, progress)
            _write_sources(release, root)
            _slim(root)
            yield root
        finally:
            _remove(root)


def tar_stream(root: Path) -> subprocess.Popen[bytes]:
    """A tar process that writes the root file system to its stdout."""
    command = ["tar", "--create", "--numeric-owner", "--one-file-system", "--directory", str(root), "."]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


class CountingReader:
    """Hands a process's output on and tells how many bytes went through."""

    def __init__(self, process: subprocess.Popen[bytes], tell: Callable[[int], None]) -> None:
        self._stream = cast(IO[bytes], process.stdout)
        self._tell = tell
        self._count = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in iter(lambda: self._stream.read(1 << 20), b""):
            self._count += len(chunk)
            self._tell(self._count)
            yield chunk


@contextmanager
def _alone(path: Path, progress: Progress) -> Iterator[int]:
    """Holds the lock; its descriptor's number, for a child that has to keep it."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.message("waiting for another run that bootstraps Debian")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def _debootstrap(release: Release, root: Path, log: Path, lock: int, progress: Progress) -> None:
    command = ["debootstrap", "--variant=minbase", release.suite, str(root), release.mirror]
    tail: deque[str] = deque(maxlen=LOG_TAIL_LINES)
    # It may outlive a killed module, and works on the same folder as the next run would: so it holds the lock too.
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=[lock],
    )
    with process, log.open("w", encoding="utf-8") as whole:
        for line in process.stdout or ():
            whole.write(line)
            tail.append(line.rstrip())
            progress.message(line.strip().removeprefix("I: ")[:100])
    if process.returncode != 0:
        reason = next((line for line in reversed(tail) if line.startswith("E: ")), tail[-1] if tail else "no output")
        raise ImageError(
            f"debootstrap of {release.suite} from {release.mirror} failed: {reason.removeprefix('E: ')}"
            f" (whole log: {log})",
            log=list(tail),
            log_file=str(log),
        )
    log.unlink()


def _write_sources(release: Release, root: Path) -> None:
    (root / "etc/apt/sources.list").unlink(missing_ok=True)
    sources = SOURCES.format(
        mirror=release.mirror, suite=release.suite, security_mirror=release.security_mirror, keyring=KEYRING
    )
    (root / "etc/apt/sources.list.d/debian.sources").write_text(sources)


def _slim(root: Path) -> None:
    for name in EMPTIED:
        _empty(root / name)
    for entry in (root / EMPTIED_BUT_FOR_ENGLISH).iterdir():
        if entry.is_dir() and not entry.name.startswith("en"):
            shutil.rmtree(entry)
    # Licences stay.
    for path in sorted((root / LICENSES).rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.name != "copyright":
            path.unlink()


def _empty(directory: Path) -> None:
    for entry in directory.iterdir() if directory.is_dir() else ():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _remove(root: Path) -> None:
    # A debootstrap that was killed may have left its /proc and /sys mounted.
    for mount in reversed(_mounts_below(root)):
        subprocess.run(["umount", "--lazy", mount], check=True, capture_output=True)
    if root.exists():
        shutil.rmtree(root)


def _mounts_below(root: Path) -> list[str]:
    prefix = f"{root.resolve()}/"
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return sorted(mount for mount in mounts if mount.startswith(prefix))
