"""A real redis-server of the tests' own, and the service over it."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest
import redis

from cache_service.app import build_app
from cache_service.settings import CacheSettings

PASSWORD = "correct-horse"
MAX_ENTRY_BYTES = 1 << 20
# As the role's template writes it.
ACL = """\
user default off sanitize-payload resetchannels -@all
user cache on #{digest} ~llm-cache:* resetchannels -@all +ping +get +getrange +strlen +set +pttl +unlink \
+scan +dbsize +info +multi +exec +discard +eval
user admin on >admin ~* &* +@all
"""


class RedisServer:
    """A redis-server process on a port of its own, which tests may stop, freeze and start again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
        (directory / "acl").write_text(ACL.format(digest=digest))
        self.url = f"redis://cache@127.0.0.1:{self.port}/0"
        self.admin = redis.Redis(port=self.port, username="admin", password="admin")

    def start(self) -> None:
        binary = shutil.which("redis-server")
        assert binary, "redis-server is not installed: apt-get install redis-server"
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self._directory),
            "aclfile": str(self._directory / "acl"),
            "save": "",
            "maxmemory": str(32 << 20),
            "maxmemory-policy": "allkeys-lru",
        }
        command = [binary, *(word for key, value in options.items() for word in (f"--{key}", value))]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(redis.ConnectionError):
                self.admin.ping()
                return
            time.sleep(0.02)
        raise AssertionError("redis-server did not start")

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Connected, but not answering."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_server(redis_process: RedisServer) -> Iterator[RedisServer]:
    """The process, empty and with its first configuration, whatever the test before did to it."""
    yield redis_process
    redis_process.kill()
    redis_process.start()


@pytest.fixture
def empty_redis(redis_process: RedisServer) -> RedisServer:
    redis_process.admin.flushall()
    return redis_process


Serve = Callable[[CacheSettings], AbstractAsyncContextManager[httpx.AsyncClient]]


@contextlib.asynccontextmanager
async def _serve(settings: CacheSettings) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(settings)
    async with app.router.lifespan_context(app) as state:
        transport = httpx.ASGITransport(app)

        async def with_state(scope, receive, send):  # type: ignore[no-untyped-def]
            # httpx's transport runs no lifespan, so it can't hand its state to the requests.
            await app({**scope, "state": dict(state or {})}, receive, send)

        transport.app = with_state
        async with httpx.AsyncClient(transport=transport, base_url="http://cache") as client:
            yield client


@pytest.fixture
def serve() -> Serve:
    """Runs the service with given settings; gives a client of it."""
    return _serve


@pytest.fixture
def settings(redis_process: RedisServer) -> CacheSettings:
    return CacheSettings.model_validate(
        {
            "redis_url": redis_process.url,
            "redis_password": PASSWORD,
            "max_entry_bytes": MAX_ENTRY_BYTES,
            "default_ttl": 600,
            "max_ttl": 3600,
        }
    )


@pytest.fixture
async def client(empty_redis: RedisServer, settings: CacheSettings, serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(settings) as client:
        yield client
