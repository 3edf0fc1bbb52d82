# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An HTTP server that misbehaves as it is told, and a proxy that leads to it."""

from __future__ import annotations

import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fault = Callable[["Handler"], None]


class FaultServer(ThreadingHTTPServer):
    """Serves one file with ranges; each request takes the next of `faults` instead, while there are any.

    `files` are the contents of further paths. `extra` are headers of each answer; `paths` and `tokens` are what was
    asked for, and with which Authorization. With `tls` it speaks HTTPS; `connections` counts those without a request
    too.
    """

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.files: dict[str, bytes] = {}
        self.tls: ssl.SSLContext | None = None
        self.connections = 0
        self.etag = '"one"'
        self.faults: list[Fault] = []
        self.otherwise: Fault = serve
        self.extra: dict[str, str] = {}
        self.ranges: list[str | None] = []
        self.paths: list[str] = []
        self.tokens: list[str | None] = []
        self.sent = 0

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.connections += 1
        if self.tls:
            # A handshake that fails ends this connection alone.
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that give up or are killed are what these tests are about."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError)):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        return f"{self.origin}/model.gguf"

    @property
    def origin(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultServer

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers.get("Range"))
        self.server.paths.append(self.path)
        self.server.tokens.append(self.headers.get("Authorization"))
        self.close_connection = True
        fault = self.server.faults.pop(0) if self.server.faults else self.server.otherwise
        fault(self)

    @property
    def content(self) -> bytes:
        return self.server.files.get(self.path, self.server.content)

    def begin(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        # Each request takes a connection of its own; said, or a client may send its next one into the closing one.
        own = {"Content-Length": str(length), "ETag": self.server.etag, "Connection": "close"}
        for name, value in {**own, **self.server.extra, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send(self, content: bytes) -> None:
        self.wfile.write(content)
        self.server.sent += len(content)

    def log_message(self, *_: object) -> None:
        """Requests are in `ranges`; pytest's output stays readable."""


def asked_range(handler: Handler) -> tuple[int, int] | None:
    """The asked bytes, the last one excluded, where If-Range allows it."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
    if not match or handler.headers.get("If-Range", handler.server.etag) != handler.server.etag:
        return None
    size = len(handler.content)
    return int(match[1]), min(int(match[2]) + 1, size) if match[2] else size


def serve(handler: Handler, upto: int | None = None, pause: float = 0.0) -> None:
    content, asked = handler.content, asked_range(handler)
    start, end = asked or (0, len(content))
    if asked:
        handler.begin(206, end - start, Content_Range=f"bytes {start}-{end - 1}/{len(content)}")
    else:
        handler.begin(200, len(content))
    last = end if upto is None else min(upto, end)
    for at in range(start, last, 1 << 18):
        handler.send(content[at : min(at + (1 << 18), last)])
        time.sleep(pause)


def break_off(at: int) -> Fault:
    """The connection ends after the file's byte `at`."""
    return lambda handler: serve(handler, upto=at)


def slowly(pause: float) -> Fault:
    return lambda handler: serve(handler, pause=pause)


def after(event: threading.Event) -> Fault:
    """Answers once `event` is set."""

    def answer(handler: Handler) -> None:
        if event.wait(60):
            serve(handler)

    return answer


def status(code: int, **headers: str) -> Fault:
    return lambda handler: handler.begin(code, 0, **headers)


def dripping(handler: Handler) -> None:
    """A byte now and then, which no read timeout notices."""
    handler.begin(200, len(handler.server.content))
    for at in range(20):
        handler.send(handler.server.content[at : at + 1])
        handler.wfile.flush()
        time.sleep(0.2)


def whole_for_range(handler: Handler) -> None:
    """Takes no notice of Range."""
    handler.begin(200, len(handler.server.content))
    handler.send(handler.server.content)


def range_of_another_version(handler: Handler) -> None:
    """Takes no notice of If-Range, and the file has changed."""
    handler.server.etag = '"two"'
    del handler.headers["If-Range"]
    serve(handler)


def flipped(handler: Handler) -> None:
    content = bytearray(handler.server.content)
    content[-1] ^= 1
    handler.begin(200, len(content))
    handler.send(bytes(content))


def stalled(handler: Handler) -> None:
    handler.begin(200, len(handler.server.content))
    handler.send(handler.server.content[:1000])
    handler.wfile.flush()
    time.sleep(3)


class Proxy(ThreadingHTTPServer):
    """Connects whoever asks to `target`; `asked` is where they wanted to go."""

    daemon_threads = True

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.target = target
        self.asked: list[str] = []


class ProxyHandler(BaseHTTPRequestHandler):
    server: Proxy

    def do_CONNECT(self) -> None:
        self.server.asked.append(self.path)
        with socket.create_connection(self.server.target) as far:
            self.send_response(200)
            self.end_headers()
            thread = threading.Thread(target=relay, args=(self.connection, far))
            thread.start()
            relay(far, self.connection)
            thread.join()

    def log_message(self, *_: object) -> None:
        """What was asked for is in `asked`."""


def relay(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while piece := one.recv(1 << 16):
            other.sendall(piece)
    # The end of either connection is the other's too.
    for end in (one, other):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
