# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a long-running module tells the person in front of Ansible where it is.

The action plugin (plugin_utils/_progress_action.py) starts the module as an async job, reads its progress file
every few seconds and keeps a lease file beside it fresh. Nobody reads along any more when the lease is gone or old
(Ctrl-C, a lost connection, a killed control node): the job then ends itself, so it can't compete with the next run.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, Optional

PROGRESS_ARGS: dict[str, Any] = {"progress_file": {"type": "path"}}

LEASE_SUFFIX = ".lease"
LEASE_SECONDS = 30.0
TICK_SECONDS = 0.5
GRACE_SECONDS = 10.0


class Progress:
    """Keeps one short line, the newest, in the file at path; without a path it does nothing."""

    def __init__(self, path: Optional[str]) -> None:
        self._path = path
        self._text: Callable[[], str] = str
        self._written = ""
        self._step = ""
        self._started = 0.0
        self._first = 0
        self._closed = threading.Event()
        if path:
            self._start(path)

    def message(self, text: str) -> None:
        """Say what is being done."""
        self._text = lambda: " ".join(text.split())

    def update(self, what: str, done: int, total: Optional[int] = None, unit: str = "B") -> None:
        """Say how far the step `what` is: done of total bytes, or of another unit."""
        now = time.monotonic()
        if what != self._step:
            # A resumed step starts above zero: what was there before says nothing about the rate.
            self._step, self._started, self._first = what, now, done
        # Put into words only where they are shown: this is called for every few bytes.
        self._text = partial(describe, what, done, total, now - self._started, done - self._first, unit)

    def close(self) -> None:
        """Write the last line and stop; called at exit as well."""
        if not self._path or self._closed.is_set():
            return
        self._closed.set()
        self._flush()
        _unlink(self._path + LEASE_SUFFIX)

    def _start(self, path: str) -> None:
        atexit.register(self.close)
        _tell_process_id(path + LEASE_SUFFIX)
        # So that a job that is told to stop unwinds and cleans up after itself.
        signal.signal(signal.SIGTERM, _exit_on_signal)
        threading.Thread(target=self._watch, args=(path,), name="progress", daemon=True).start()

    def _watch(self, path: str) -> None:
        while not self._closed.wait(TICK_SECONDS):
            if _lease_lost(path + LEASE_SUFFIX) and not self._closed.is_set():
                self._abandon(path)
            self._flush()

    def _flush(self) -> None:
        if not self._path:
            return
        text = self._text()
        if text == self._written:
            return
        try:
            with open(self._path + ".new", "w", encoding="utf-8") as stream:
                stream.write(text + "\n")
            os.replace(self._path + ".new", self._path)
        except OSError:
            # The work matters more than its progress line.
            return
        self._written = text

    def _abandon(self, path: str) -> None:
        for name in (path, path + ".new", path + LEASE_SUFFIX):
            _unlink(name)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(path))
        # The async job is a process group of its own: the module and whatever it started.
        os.killpg(os.getpgrp(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os.killpg(os.getpgrp(), signal.SIGKILL)


def describe(what: str, done: int, total: Optional[int], seconds: float, new: int, unit: str = "B") -> str:
    """One line: what, how much of it, how fast, how long still.

    `new` is how much of `done` came during the last `seconds` seconds.
    """
    parts = []
    if total:
        parts.append(f"{min(100, done * 100 // total)}% of {_amount(total, unit)}")
    else:
        parts.append(_amount(done, unit))
    if seconds >= 1 and new > 0:
        rate = new / seconds
        parts.append(f"{_amount(rate, unit)}/s")
        if total and total > done:
            parts.append(f"{_duration((total - done) / rate)} left")
    return f"{what}: {', '.join(parts)}"


def _amount(value: float, unit: str) -> str:
    if unit != "B":
        return f"{value:.0f} {unit}" if value >= 10 or value == int(value) else f"{value:.1f} {unit}"
    for prefix in ("", "k", "M", "G"):
        if value < 1000:
            return f"{value:.1f} {prefix}B" if prefix else f"{value:.0f} B"
        value /= 1000
    return f"{value:.1f} TB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _lease_lost(path: str) -> bool:
    try:
        return time.time() - os.stat(path).st_mtime > LEASE_SECONDS
    except OSError:
        return True


def _tell_process_id(lease: str) -> None:
    # Opened without creating it: where the reader has gone, the lease must stay lost.
    try:
        with open(lease, "r+", encoding="ascii") as stream:
            stream.write(str(os.getpid()))
    except OSError:
        pass


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _exit_on_signal(number: int, frame: object) -> NoReturn:
    # A second signal must not interrupt the cleaning up that the first one started.
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)
