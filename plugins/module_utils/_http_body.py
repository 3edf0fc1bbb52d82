# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The body of an answer as it arrives: not faster than allowed, and not slower than a connection that works."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Generator, Iterator
from typing import Optional

from ansible_collections.llm.orchestrator.plugins.module_utils._http_client import HAS_REQUESTS, TransientError

if HAS_REQUESTS:
    import requests
    import urllib3

# What a connection that breaks off may lose with an older urllib3: small, so that even one that often does gets on.
NETWORK_CHUNK_BYTES = 64 << 10
# What is taken at once of what has arrived.
READ_BYTES = 128 << 10


def received(response: requests.Response, timeout: float, rate_limit: Optional[float]) -> Generator[bytes, None, None]:
    """The body, at most READ_BYTES at a time; raises TransientError or requests' exceptions.

    `timeout` are the seconds in which 64 KiB have to arrive, `rate_limit` is in bytes a second.
    """
    pace = _Pace(rate_limit)
    with _StallGuard(response, timeout) as guard:
        for piece in _pieces(response):
            yield piece
            pace.keep(len(piece))
            guard.arrived(len(piece))


def _pieces(response: requests.Response) -> Iterator[bytes]:
    if not hasattr(response.raw, "read1"):
        # urllib3 before 2.1 waits until a chunk is full.
        yield from response.iter_content(NETWORK_CHUNK_BYTES)
        return
    try:
        while piece := response.raw.read1(READ_BYTES):
            yield piece
    except urllib3.exceptions.HTTPError as error:
        raise requests.exceptions.ConnectionError(error) from error


class _StallGuard:
    """Ends a connection over which less than a chunk arrives in `seconds`, however often single bytes do."""

    def __init__(self, response: requests.Response, seconds: float) -> None:
        self._seconds = seconds
        self._arrived = 0
        self._deadline = time.monotonic() + seconds
        self._over = threading.Event()
        self._stalled = False
        # A descriptor of its own: the response closes its own one whenever it likes.
        self._socket = socket.socket(fileno=os.dup(response.raw.fileno()))
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _StallGuard:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()
        if self._stalled:
            raise TransientError(f"less than {NETWORK_CHUNK_BYTES >> 10} KiB arrived in {self._seconds:g} s") from None

    def arrived(self, count: int) -> None:
        self._arrived += count
        if self._arrived >= NETWORK_CHUNK_BYTES:
            self._arrived = 0
            self._deadline = time.monotonic() + self._seconds

    def _watch(self) -> None:
        while not self._over.wait(max(0.05, self._deadline - time.monotonic())):
            if time.monotonic() >= self._deadline:
                self._stalled = True
                # It may have ended by itself just now.
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
                return


class _Pace:
    """Sleeps so that no more than `rate` bytes arrive in a second."""

    def __init__(self, rate: Optional[float]) -> None:
        self._rate = rate
        self._due = time.monotonic()

    def keep(self, count: int) -> None:
        if self._rate:
            self._due += count / self._rate
            time.sleep(max(0.0, self._due - time.monotonic()))
