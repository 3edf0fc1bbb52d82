"""The tests run on a real model: MODEL_TEST_PATH names its Q8_0 file, see run-in-image.sh."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from model_service.engine import NotReadyError
from model_service.llama.context import ContextSize
from model_service.llama.llama_engine import EngineConfig, LlamaEngine
from model_service.llama.model import Model
from model_service.llama.native_log import NativeLog
from support import ServedModel, settle

StartEngine = Callable[..., AbstractAsyncContextManager[LlamaEngine]]


@pytest.fixture(scope="session")
def model_path() -> Path:
    path = os.environ.get("MODEL_TEST_PATH")
    if path is None:
        pytest.fail("MODEL_TEST_PATH is not set: tests/run-in-image.sh sets it, see README.md")
    return Path(path)


@pytest.fixture(scope="session")
def native_log() -> NativeLog:
    return NativeLog()


@pytest.fixture(scope="session")
def model(model_path: Path, native_log: NativeLog) -> Iterator[Model]:
    model = Model(model_path, native_log)
    yield model
    model.close()


@pytest.fixture
def start_engine(model_path: Path, native_log: NativeLog) -> StartEngine:
    """Starts an engine and waits until it is ready."""

    @asynccontextmanager
    async def start(
        *, slots: int = 4, context: int = 512, queue_limit: int = 8, queue_timeout_seconds: float = 60
    ) -> AsyncGenerator[LlamaEngine, None]:
        failures: list[str] = []
        size = ContextSize(slots=slots, context=context, step_tokens=64, threads=2)
        config = EngineConfig(model_path, size, queue_limit, queue_timeout_seconds)
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
