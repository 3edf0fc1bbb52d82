"""The tests run on a real model, which run-in-image.sh puts in place."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fake_engine import HELLO, FakeEngine
from serving import serving_fake
from support import GPU_LAYERS, ServedModel, settle

from model_service.engine import NotReadyError
from model_service.llama.context import ContextSize
from model_service.llama.llama_engine import EngineConfig, LlamaEngine
from model_service.llama.model import Model
from model_service.llama.native_log import NativeLog
from model_service.llama.scheduler import Limits

StartEngine = Callable[..., AbstractAsyncContextManager[LlamaEngine]]


@pytest.fixture(scope="session")
def model_path() -> Path:
    """A Q8_0 model."""
    return path_from("MODEL_TEST_PATH")


@pytest.fixture(scope="session")
def source_path() -> Path:
    """The same model in lower precision."""
    return path_from("MODEL_TEST_SOURCE_PATH")


def path_from(variable: str) -> Path:
    if variable not in os.environ:
        pytest.fail(f"{variable} is not set: run-in-image.sh sets it")
    return Path(os.environ[variable])


@pytest.fixture(scope="session")
def native_log() -> NativeLog:
    return NativeLog()


@pytest.fixture(scope="session")
def model(model_path: Path, native_log: NativeLog) -> Iterator[Model]:
    model = Model(model_path, native_log, gpu_layers=GPU_LAYERS)
    yield model
    model.close()


@pytest.fixture
def start_engine(model_path: Path, native_log: NativeLog) -> StartEngine:
    """Starts an engine and waits until it is ready."""

    @asynccontextmanager
    async def start(
        *,
        slots: int = 4,
        context: int = 512,
        step_tokens: int = 64,
        queue_limit: int = 8,
        queue_timeout_seconds: float = 60,
        kv_tokens: int | None = None,
        prefix_store_bytes: int = 64 << 20,
    ) -> AsyncGenerator[LlamaEngine, None]:
        failures: list[str] = []
        size = ContextSize(slots, context, kv_tokens or slots * context, step_tokens, threads=2)
        limits = Limits(queue_timeout_seconds, prefix_store_bytes)
        config = EngineConfig(model_path, size, queue_limit, limits, gpu_layers=GPU_LAYERS)
        engine = LlamaEngine(config, native_log, failures.append)

        def is_ready() -> bool:
            assert not failures
            try:
                return bool(engine.facts)
            except NotReadyError:
                return False

        try:
            await settle(is_ready)
            yield engine
        finally:
            await engine.close()

    return start


@pytest.fixture(scope="module")
def served(model_path: Path) -> Iterator[ServedModel]:
    """The service as a process of its own, ready."""
    with ServedModel(MODEL_PATH=model_path) as served:
        yield served


@pytest.fixture
def http(served: ServedModel) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def fake_service() -> Iterator[tuple[FakeEngine, str]]:
    """The application over an engine without a model, and its URL."""
    engine = FakeEngine()
    with serving_fake(engine) as url:
        yield engine, url


@pytest.fixture
def fake(fake_service: tuple[FakeEngine, str]) -> FakeEngine:
    """The engine as it was at first."""
    engine = fake_service[0]
    engine.script, engine.reason, engine.refusal, engine.asked = HELLO, "stop", None, []
    return engine


@pytest.fixture
def api(fake_service: tuple[FakeEngine, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=fake_service[1], timeout=30) as client:
        yield client
