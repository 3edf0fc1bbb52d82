# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file over several connections, each of which fetches a range of it, put together in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Optional

from ansible_collections.llm.orchestrator.plugins.module_utils._http_body import received
from ansible_collections.llm.orchestrator.plugins.module_utils._http_client import (
    HAS_REQUESTS,
    HttpOptions,
    Location,
    TransientError,
    get,
    persist,
    require_status,
    validator,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._partial_file import ModelFileError

if HAS_REQUESTS:
    import requests

# What one connection fetches at a time, and keeps in memory until its turn comes.
RANGE_BYTES = 8 << 20


class ChangedError(Exception):
    """What the server sends now is of another version of the file, or of other bytes than asked for."""


@dataclass(frozen=True)
class Range:
    """Bytes `start` to `end`, the last one included, of a file of `total`."""

    start: int
    end: int
    total: int

    @classmethod
    def at(cls, start: int, total: int) -> Range:
        return cls(start, min(start + RANGE_BYTES, total) - 1, total)

    @property
    def length(self) -> int:
        return self.end + 1 - self.start

    @property
    def content_range(self) -> str:
        """As an answer's header names it."""
        return f"bytes {self.start}-{self.end}/{self.total}"

    def behind(self, count: int) -> Range:
        """It without its first `count` bytes."""
        return Range(self.start + count, self.end, self.total)


class _Arriving:
    """A range as it arrives: `pieces` are its bytes in order, then an empty one, whatever ended it."""

    def __init__(self, asked: Range) -> None:
        self.rest = asked
        self.pieces: SimpleQueue[bytes] = SimpleQueue()

    def take(self, piece: bytes) -> None:
        self.rest = self.rest.behind(len(piece))
        self.pieces.put(piece)


@dataclass(frozen=True)
class RangedFile:
    """A file of which ranges are to be had; they are of one version if the server gives it a `validator`.

    `kept` says what a run that gives up leaves to the next one.
    """

    name: str
    location: Location
    options: HttpOptions
    validator: Optional[str]
    kept: Callable[[], str]

    def pieces(self, first: requests.Response, of: Range) -> Generator[bytes, None, None]:
        """The bytes of the range `of`, which `first` answers with, and all behind it. Close it to end all connections.

        Each range is tried again by itself. Raises ModelFileError for one that can't be had, after all bytes before it,
        and ChangedError.
        """
        connections = self.options.connections
        starts = iter(range(of.end + 1, of.total, RANGE_BYTES))
        over = threading.Event()
        with ExitStack() as stack:
            sessions: SimpleQueue[requests.Session] = SimpleQueue()
            for _number in range(connections):
                sessions.put(stack.enter_context(requests.Session()))
            pool = stack.enter_context(ThreadPoolExecutor(connections, "range"))

            def begin(asked: Range, *answers: requests.Response) -> tuple[_Arriving, Future[None]]:
                arriving = _Arriving(asked)
                return arriving, pool.submit(self._fetch, arriving, list(answers), sessions, over)

            ahead = deque([begin(of, first)])
            try:
                while ahead:
                    # One more than are fetched at a time, so that no connection waits for this thread.
                    while len(ahead) <= connections and (start := next(starts, None)) is not None:
                        ahead.append(begin(Range.at(start, of.total)))
                    arriving, done = ahead.popleft()
                    while piece := arriving.pieces.get():
                        yield piece
                    done.result()
            finally:
                over.set()
                for _arriving, done in ahead:
                    done.cancel()

    def _fetch(
        self,
        arriving: _Arriving,
        answers: list[requests.Response],
        sessions: SimpleQueue[requests.Session],
        over: threading.Event,
    ) -> None:
        session, furthest = sessions.get(), arriving.rest.start

        def progressed() -> bool:
            nonlocal furthest
            before, furthest = furthest, arriving.rest.start
            return furthest > before

        def attempt() -> None:
            if not over.is_set():
                with answers.pop() if answers else self._ask(session, arriving.rest) as answer:
                    self._receive(answer, arriving, over)

        try:
            persist(attempt, self.name, self.options, progressed, self.kept)
        finally:
            sessions.put(session)
            arriving.pieces.put(b"")

    def _ask(self, session: requests.Session, asked: Range) -> requests.Response:
        headers = {"Range": f"bytes={asked.start}-{asked.end}"}
        if self.validator:
            headers["If-Range"] = self.validator
        answer = get(session, self.location, headers, self.options)[-1]
        try:
            require_status(answer, (200, 206, 416))
            if answer.headers.get("Content-Range") != asked.content_range or validator(answer) != self.validator:
                raise ChangedError
        except Exception:
            answer.close()
            raise
        return answer

    def _receive(self, answer: requests.Response, arriving: _Arriving, over: threading.Event) -> None:
        rate = self.options.rate_limit
        for piece in received(answer, self.options.timeout, rate and rate / self.options.connections):
            # Else a server that goes on and on would fill the memory.
            if len(piece) > arriving.rest.length:
                raise ModelFileError(f"{self.name} sent more than it announced, behind byte {arriving.rest.end}")
            arriving.take(piece)
            if over.is_set():
                return
        if arriving.rest.length:
            raise TransientError(f"the connection broke off at {arriving.rest.start} of {arriving.rest.total} bytes")
