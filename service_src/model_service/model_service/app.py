"""The application: what lives as long as the process, and its routes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI

from model_service import SERVICE, VERSION, metrics
from model_service.auth import ApiKeys
from model_service.chat import Chat
from model_service.llama.context import ContextSize
from model_service.llama.llama_engine import EngineConfig, LlamaEngine
from model_service.llama.native_log import NativeLog
from model_service.response_cache import ResponseCache
from model_service.routes import chat, models
from model_service.schemas import ModelCard
from model_service.settings import ModelSettings
from service_kit import http
from service_kit.app import create_app


class Runtime:
    """What lives as long as the process."""

    def __init__(self, settings: ModelSettings, native_log: NativeLog, on_fatal: Callable[[str], None]) -> None:
        self._settings = settings
        self._native_log = native_log
        self._on_fatal = on_fatal
        self._chat: Chat | None = None

    @asynccontextmanager
    async def lifespan(self, _app: FastAPI) -> AsyncGenerator[dict[str, Any], None]:
        settings = self._settings
        async with AsyncExitStack() as stack:
            engine = LlamaEngine(_engine_config(settings), self._native_log, self._on_fatal)
            stack.push_async_callback(engine.close)
            metrics.watch(engine)
            cache = None
            if settings.cache_url is not None:
                client = http.client(str(settings.cache_url), timeout=settings.cache_timeout_seconds)
                await stack.enter_async_context(client)
                cache = ResponseCache(client, settings.cache_ttl_seconds, settings.cache_timeout_seconds)
            self._chat = Chat(engine, cache, settings.model_name)
            yield {
                "chat": self._chat,
                "api_keys": ApiKeys(settings.api_key_list),
                "keep_alive_seconds": settings.keep_alive_seconds,
                "model_card": ModelCard(id=settings.model_name, created=int(settings.path.stat().st_mtime)),
            }

    async def check_model(self) -> None:
        """Ready once the model is loaded and its chat template is usable."""
        assert self._chat is not None
        _ = self._chat.template


def build_app(settings: ModelSettings, native_log: NativeLog, on_fatal: Callable[[str], None]) -> FastAPI:
    """``on_fatal`` is called with one line, from another thread, if the engine can't start or go on."""
    runtime = Runtime(settings, native_log, on_fatal)
    return create_app(
        service=SERVICE,
        version=VERSION,
        max_body_bytes=settings.max_body_bytes,
        routers=[models.router, chat.router],
        lifespan=runtime.lifespan,
        checks={"model": runtime.check_model},
    )


def _engine_config(settings: ModelSettings) -> EngineConfig:
    size = ContextSize(
        slots=settings.slots,
        context=settings.context,
        step_tokens=max(settings.step_tokens, settings.slots),  # each slot needs one a step
        threads=settings.threads,
    )
    return EngineConfig(settings.path, size, settings.queue_limit, settings.queue_timeout_seconds)
