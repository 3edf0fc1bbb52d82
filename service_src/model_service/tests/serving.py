"""An application on a port of its own, in a thread of the test process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fake_engine import FakeEngine, app_of
from fastapi import FastAPI
from support import free_port, wait_until


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The URL at which it is served."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def serving_fake(engine: FakeEngine, keep_alive_seconds: float = 10.0) -> Iterator[str]:
    with serving(app_of(engine, keep_alive_seconds=keep_alive_seconds)) as url:
        yield url
