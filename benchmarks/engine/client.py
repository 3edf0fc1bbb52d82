#!/usr/bin/env python3
# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The load generator, a process of its own: a load as JSON on stdin, what came back as JSON on stdout.

It shares the CPUs with the server it measures, so while it runs it only notes when which bytes came; it looks into
them once all is over. Each request has its own connection, whose making counts as part of the answer's time.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from bisect import bisect_right
from itertools import accumulate
from typing import Any, cast

# A server writes an event in one piece, so the framing of HTTP's chunks never falls inside one.
EVENT = re.compile(rb"data: ([^\r\n]+)\r?\n")


class Exchange(asyncio.Protocol):
    """One request and the bytes of its answer, each piece with the time it came."""

    def __init__(self, request: bytes, label: str) -> None:
        self._request = request
        self.label = label
        self._transport: asyncio.Transport | None = None
        self.sent = time.monotonic()
        self.pieces: list[tuple[float, bytes]] = []
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not an instance of it
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.pieces.append((time.monotonic(), data))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Load:
    """Requests to one server, and all their exchanges so far."""

    def __init__(self, port: int, path: str, timeout_seconds: float) -> None:
        self._port = port
        self._path = path
        self._deadline = time.monotonic() + timeout_seconds
        self.exchanges: list[Exchange] = []

    async def start(self, body: dict[str, Any], label: str = "") -> Exchange:
        payload = json.dumps(body).encode()
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(payload)}\r\nConnection: close\r\n\r\n"
        )
        exchange = Exchange(head.encode() + payload, label)
        self.exchanges.append(exchange)
        try:
            await asyncio.get_running_loop().create_connection(lambda: exchange, "127.0.0.1", self._port)
        except OSError:
            exchange.connection_lost(None)
        return exchange

    async def finish(self, exchange: Exchange) -> None:
        """Until the answer's end; one that takes longer than the whole load may is cut off."""
        try:
            await asyncio.wait_for(asyncio.shield(exchange.ended), max(0.0, self._deadline - time.monotonic()))
        except TimeoutError:
            exchange.abort()

    async def closed(self, bodies: list[dict[str, Any]], concurrency: int) -> None:
        """So many users, each of whom sends the next request once the last is answered."""
        queue = iter(bodies)

        async def user() -> None:
            for body in queue:
                await self.finish(await self.start(body))

        await asyncio.gather(*(user() for _ in range(concurrency)))

    async def open(self, bodies: list[dict[str, Any]], at: list[float]) -> None:
        """Requests at given times, whatever became of the ones before."""
        begin = time.monotonic()

        async def one(body: dict[str, Any], offset: float) -> None:
            await asyncio.sleep(begin + offset - time.monotonic())
            await self.finish(await self.start(body))

        await asyncio.gather(*(one(body, offset) for body, offset in zip(bodies, at, strict=True)))

    async def disturbed(self, streams: list[dict[str, Any]], longs: list[dict[str, Any]], quiet_seconds: float) -> None:
        """Streams run on their own for a while, then beside long prompts, one after the other; then they are cut."""

        async def endless(body: dict[str, Any]) -> None:
            while time.monotonic() < self._deadline:
                await self.finish(await self.start(body))

        running = [asyncio.create_task(endless(body)) for body in streams]
        while len(self.exchanges) < len(streams) or any(
            len(each.pieces) < 4 for each in self.exchanges[: len(streams)]
        ):
            if time.monotonic() > self._deadline:
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(quiet_seconds)
        for body in longs:
            await self.finish(await self.start(body, "long"))
        for task in running:
            task.cancel()
        for exchange in self.exchanges:
            exchange.abort()


def read(exchange: Exchange, begin: float) -> dict[str, Any]:
    """What an exchange came to; times in seconds from the load's begin."""
    raw = b"".join(data for _, data in exchange.pieces)
    ends = list(accumulate(len(data) for _, data in exchange.pieces))
    head, _, rest = raw.partition(b"\r\n\r\n")
    tokens: list[float] = []
    usage: dict[str, Any] = {}
    finish, error = None, ""
    for match in EVENT.finditer(raw, len(head)):
        if match[1] == b"[DONE]":
            continue
        event = json.loads(match[1])
        usage = event.get("usage") or usage
        if event.get("error"):
            error = match[1].decode(errors="replace")
        for choice in event.get("choices") or ():
            finish = choice.get("finish_reason") or finish
            if choice.get("delta", {}).get("content"):
                tokens.append(exchange.pieces[bisect_right(ends, match.end() - 1)][0] - begin)
    status = int(head[9:12]) if head.startswith(b"HTTP/1.") else 0
    return {
        "label": exchange.label,
        "sent": exchange.sent - begin,
        "answered": exchange.pieces[0][0] - begin if exchange.pieces else None,
        "status": status,
        "tokens": tokens,
        "prompt_tokens": usage.get("prompt_tokens"),
        # A token may end in the midst of a character and so have no event of its own.
        "completion_tokens": usage.get("completion_tokens") or len(tokens),
        "finish": finish,
        "error": error if status == 200 else rest[-400:].decode(errors="replace"),
    }


async def run(plan: dict[str, Any]) -> list[dict[str, Any]]:
    load = Load(plan["port"], plan["path"], plan["timeout_seconds"])
    begin = time.monotonic()
    match plan["kind"]:
        case "closed":
            await load.closed(plan["bodies"], plan["concurrency"])
        case "open":
            await load.open(plan["bodies"], plan["at"])
        case "disturbed":
            await load.disturbed(plan["bodies"], plan["longs"], plan["quiet_seconds"])
    return [read(exchange, begin) for exchange in load.exchanges]


def main() -> None:
    plan = json.load(sys.stdin)
    try:
        import uvloop
    except ImportError:
        loop_factory = None
    else:
        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        json.dump(runner.run(run(plan)), sys.stdout)


if __name__ == "__main__":
    main()
