"""Two ways to the service: its application in this process, and a real process on a loopback port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from storage_service.app import create_app
from storage_service.settings import StorageSettings
from storage_service.store import Store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def settings(root: Path) -> StorageSettings:
    return StorageSettings(root=root, min_free_bytes=0, max_file_bytes=4 << 20)


@pytest.fixture
def store(settings: StorageSettings) -> Store:
    return Store(settings.root, settings.min_free_bytes)


@pytest.fixture
async def client(settings: StorageSettings, store: Store) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings, store)
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        transport = httpx.ASGITransport(app=with_state, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://storage") as http:
            yield http


class Process:
    """One storage-service process on a volume."""

    def __init__(self, root: Path, **settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        values = {
            "host": "127.0.0.1",
            "port": str(self.port),
            "root": str(root),
            "min_free_bytes": "0",
            "drain_grace_seconds": "0",
            **settings,
        }
        environment = {f"STORAGE_{name.upper()}": value for name, value in values.items()}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "storage_service"],
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/health/ready", trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("the service did not become ready")

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def terminate(self) -> None:
        self._process.terminate()

    def wait(self, timeout: float = 20) -> tuple[int, str]:
        """The exit status, and what it wrote to stderr."""
        _, stderr = self._process.communicate(timeout=timeout)
        return self._process.returncode, stderr

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Starts service processes, which are gone at the end of the test."""
    processes: list[Process] = []

    def start_one(root: Path, **settings: str) -> Process:
        processes.append(Process(root, **settings))
        return processes[-1]

    yield start_one
    for process in processes:
        process.kill()
