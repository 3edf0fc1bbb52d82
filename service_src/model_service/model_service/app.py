"""The application: what lives as long as the process, and its routes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI

from model_service import SERVICE, VERSION, metrics
from model_service.auth import ApiKeys
from model_service.chat import Chat
from model_service.chat_template import TemplateRenderer
from model_service.llama.context import ContextSize
from model_service.llama.llama_engine import EngineConfig, LlamaEngine
from model_service.llama.native_log import NativeLog
from model_service.llama.scheduler import Limits
from model_service.models import Models
from model_service.response_cache import ResponseCache
from model_service.routes import chat, completions, models, tokens
from model_service.schemas import ModelCard
from model_service.settings import ModelSettings, ServedModel
from service_kit import http
from service_kit.app import create_app


class Runtime:
    """What lives as long as the process."""

    def __init__(self, settings: ModelSettings, native_log: NativeLog, on_fatal: Callable[[str], None]) -> None:
        self._settings = settings
        self._native_log = native_log
        self._on_fatal = on_fatal
        self._models = Models()

    @asynccontextmanager
    async def lifespan(self, _app: FastAPI) -> AsyncGenerator[dict[str, Any], None]:
        settings = self._settings
        async with AsyncExitStack() as stack:
            renderer = await stack.enter_async_context(TemplateRenderer())
            cache = None
            if settings.cache_url is not None:
                client = http.client(str(settings.cache_url), timeout=settings.cache_timeout_seconds)
                await stack.enter_async_context(client)
                cache = ResponseCache(client, settings.cache_ttl_seconds, settings.cache_timeout_seconds)
            for model in settings.served_models:
                engine = LlamaEngine(_engine_config(settings, model), self._native_log, self._on_fatal)
                stack.push_async_callback(engine.close)
                metrics.ENGINES.watch(engine, model.name)
                card = ModelCard(id=model.name, created=int(model.path.stat().st_mtime))
                self._models.add(card, Chat(engine, cache, model.name, renderer))
            yield {
                "models": self._models,
                "api_keys": ApiKeys(settings.api_key_list),
                "keep_alive_seconds": settings.keep_alive_seconds,
            }

    async def check_models(self) -> None:
        """Ready once each model is loaded and its chat template is usable."""
        for chat_of_model in self._models.chats:
            _ = chat_of_model.template


def build_app(settings: ModelSettings, native_log: NativeLog, on_fatal: Callable[[str], None]) -> FastAPI:
    """``on_fatal`` is called with one line, from another thread, if the engine can't start or go on."""
    runtime = Runtime(settings, native_log, on_fatal)
    return create_app(
        service=SERVICE,
        version=VERSION,
        max_body_bytes=settings.max_body_bytes,
        routers=[models.router, chat.router, completions.router, tokens.router],
        lifespan=runtime.lifespan,
        checks={"model": runtime.check_models},
    )


def _engine_config(settings: ModelSettings, model: ServedModel) -> EngineConfig:
    size = ContextSize(
        slots=model.slots,
        context=model.context,
        kv_tokens=settings.kv_tokens or model.slots * model.context,
        step_tokens=max(settings.step_tokens, model.slots),  # each slot needs one a step
        threads=settings.threads,
        kv_type=model.kv_type,
    )
    limits = Limits(settings.queue_timeout_seconds, settings.prefix_store_mib << 20)
    return EngineConfig(model.path, size, settings.queue_limit, limits, gpu_layers=settings.gpu_layers)
