"""A constant load on all services, with open streams, that notes everything a client would call a failure."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator

import httpx

STREAMS = 16
STREAM_TOKENS = 32
PAUSE_SECONDS = 0.25


class Load:
    """Counts the requests and streams that went well by what they asked; failures are sentences."""

    def __init__(self, base_url: str, admin: httpx.BasicAuth, model: str) -> None:
        self.done: dict[str, int] = {}
        self.failures: list[str] = []
        self._base_url = base_url
        self._admin = admin
        self._model = model
        self._lock = threading.Lock()
        self._ended = threading.Event()

    @contextlib.contextmanager
    def running(self, streams: int = STREAMS) -> Iterator[Load]:
        """Runs the load within the block; streams that are open at its end are read to theirs."""
        repeated: list[Callable[[httpx.Client], None]] = [
            *(self._completion, self._models, self._page, self._services, self._cache, self._storage),
            *[self._stream] * streams,
        ]
        threads = [threading.Thread(target=self._repeat, args=(ask,)) for ask in repeated]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    def count(self, kind: str) -> int:
        with self._lock:
            return self.done.get(kind, 0)

    def _repeat(self, ask: Callable[[httpx.Client], None]) -> None:
        kind = ask.__name__.removeprefix("_")
        with httpx.Client(base_url=self._base_url, timeout=300, trust_env=False) as client:
            while not self._ended.is_set():
                began = time.monotonic()
                try:
                    ask(client)
                # Whatever it is, a thread that ends by it would hide it.
                except Exception as error:
                    with self._lock:
                        self.failures.append(f"{kind} after {time.monotonic() - began:.1f} s: {error!r}")
                else:
                    with self._lock:
                        self.done[kind] = self.done.get(kind, 0) + 1
                self._ended.wait(PAUSE_SECONDS)

    def _body(self, tokens: int, **more: object) -> dict[str, object]:
        # Answers by chance, so that none comes from the cache.
        messages = [{"role": "user", "content": "Tell me about the sea."}]
        return {"model": self._model, "messages": messages, "max_tokens": tokens, "temperature": 1.0, **more}

    def _completion(self, client: httpx.Client) -> None:
        answer = client.post("/v1/chat/completions", json=self._body(4))
        assert answer.status_code == 200, answer.text
        assert answer.json()["usage"]["completion_tokens"] > 0

    def _stream(self, client: httpx.Client) -> None:
        last, pieces = "", 0
        body = self._body(STREAM_TOKENS, stream=True)
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            assert answer.status_code == 200, answer.read()
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    last = line.removeprefix("data: ")
                    assert last == "[DONE]" or "error" not in json.loads(last), last
                    pieces += 1
        assert last == "[DONE]", f"the stream was cut after {pieces} pieces"

    def _models(self, client: httpx.Client) -> None:
        self._expect(client.get("/v1/models"), 200)

    def _page(self, client: httpx.Client) -> None:
        self._expect(client.get("/"), 200)

    def _services(self, client: httpx.Client) -> None:
        self._expect(client.get("/api/monitoring/v1/services"), 200)

    def _cache(self, client: httpx.Client) -> None:
        self._expect(client.get("/api/cache/v1/stats", auth=self._admin), 200)

    def _storage(self, client: httpx.Client) -> None:
        path, data = "/api/storage/v1/files/rollout-test", b"x" * 4096
        self._expect(client.put(path, content=data, auth=self._admin), 200, 201, 204)
        answer = client.get(path, auth=self._admin)
        self._expect(answer, 200)
        assert answer.content == data

    @staticmethod
    def _expect(answer: httpx.Response, *statuses: int) -> None:
        assert answer.status_code in statuses, f"{answer.status_code} {answer.text[:300]}"
