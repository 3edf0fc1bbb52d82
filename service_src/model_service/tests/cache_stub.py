"""A stub of cache-service: a real HTTP server with its contract for entries and leases, over dictionaries."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit


class CacheStub:
    """``entries`` by path; ``delay_seconds`` before each answer; ``status`` instead of one, if not 0.

    ``leases`` has the owner and the end of each, by the path of its entry.
    """

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.leases: dict[str, tuple[str, float]] = {}
        self.has_leases = True
        self.waiting = 0  # GETs that wait
        self.misses = 0  # how many GETs don't find what is there
        self._hung_up = threading.Event()
        self._lock = threading.Lock()
        self.ttls: list[str] = []
        self.requests = 0
        self.delay_seconds = 0.0
        self.status = 0
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path, parameters = self._target()
                found = stub.wait(path, float(parameters.get("wait_ms", 0)) / 1000)
                if stub.misses:
                    stub.misses, found = stub.misses - 1, None
                self._answer(200 if found is not None else 404, found or b"")

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not stub.status:
                    stub.entries[self.path] = body
                    stub.ttls.append(self.headers["X-TTL-Seconds"])
                    stub.leases.pop(self.path, None)
                self._answer(204, b"")

            def do_POST(self) -> None:
                path, parameters = self._target()
                if not stub.has_leases:
                    self._answer(404, b"")
                    return
                code = None if stub.status else stub.acquire(path, parameters["owner"], int(parameters["ttl_ms"]))
                if code is None:
                    self._answer(204, b"")
                else:
                    self._answer(409, b'{"error": {"code": "%s"}}' % code.encode())

            def do_DELETE(self) -> None:
                path, parameters = self._target()
                with stub._lock:
                    if stub.leases.get(path, ("",))[0] == parameters["owner"]:
                        del stub.leases[path]
                self._answer(204, b"")

            def _target(self) -> tuple[str, dict[str, str]]:
                """The entry's path, and the parameters."""
                url = urlsplit(self.path)
                return url.path.removesuffix("/lease"), dict(parse_qsl(url.query))

            def _answer(self, status: int, body: bytes) -> None:
                stub.requests += 1
                if stub._hung_up.is_set():
                    self.close_connection = True
                    return
                time.sleep(stub.delay_seconds)
                self.send_response(stub.status or status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def hang_up(self) -> None:
        """From now on it closes each connection without an answer, as if it had been killed."""
        self._hung_up.set()

    def acquire(self, path: str, owner: str, ttl_ms: int) -> str | None:
        """Why it gets no lease, None if it gets it."""
        with self._lock:
            holder, end = self.leases.get(path, ("", 0.0))
            if holder != owner and time.monotonic() < end:
                return "lease_held"
            if path in self.entries:
                return "entry_exists"
            self.leases[path] = (owner, time.monotonic() + ttl_ms / 1000)
            return None

    def wait(self, path: str, seconds: float) -> bytes | None:
        give_up = time.monotonic() + seconds
        self.waiting += seconds > 0
        try:
            while (now := time.monotonic()) < give_up and path not in self.entries:
                if now >= self.leases.get(path, ("", 0.0))[1]:
                    break
                time.sleep(0.01)
            return self.entries.get(path)
        finally:
            self.waiting -= seconds > 0

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
