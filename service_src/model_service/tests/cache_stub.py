"""A stub of cache-service: a real HTTP server with its contract for entries, over a dictionary."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


class CacheStub:
    """``entries`` by path; ``delay_seconds`` before each answer; ``status`` instead of one, if not 0."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.ttls: list[str] = []
        self.requests = 0
        self.delay_seconds = 0.0
        self.status = 0
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                found = stub.entries.get(self.path)
                self._answer(200 if found is not None else 404, found or b"")

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not stub.status:
                    stub.entries[self.path] = body
                    stub.ttls.append(self.headers["X-TTL-Seconds"])
                self._answer(204, b"")

            def _answer(self, status: int, body: bytes) -> None:
                stub.requests += 1
                time.sleep(stub.delay_seconds)
                self.send_response(stub.status or status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
