"""The application: what lives as long as the process, and its routes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI

from model_service import SERVICE, VERSION, metrics
from model_service.auth import ApiKeys
from model_service.chat import Chat
from model_service.chat_template import TemplateRenderer, digest_of
from model_service.llama.native_log import NativeLog
from model_service.llama_source import LlamaSource
from model_service.models import Entry, Models
from model_service.pool import ModelPool, PoolLimits, State
from model_service.pooled_engine import AdaptedEngine, PooledEngine
from model_service.preflight import ModelFileError
from model_service.response_cache import ResponseCache
from model_service.routes import chat, completions, embeddings, models, responses, tokens
from model_service.schemas import ModelCard
from model_service.settings import ModelSettings, ServedModel, adapter_id
from service_kit import http
from service_kit.app import create_app


class Runtime:
    """What lives as long as the process."""

    def __init__(self, settings: ModelSettings, native_log: NativeLog, on_fatal: Callable[[str], None]) -> None:
        self._settings = settings
        self._native_log = native_log
        self._on_fatal = on_fatal
        self._models = Models()
        budget = settings.memory_budget_mib
        self._pool = ModelPool(
            PoolLimits(
                budget_bytes=None if budget is None else budget << 20,
                room_seconds=settings.queue_timeout_seconds,
                load_seconds=settings.load_timeout_seconds,
                queue_limit=settings.queue_limit,
            )
        )
        self._has_started = False

    @asynccontextmanager
    async def lifespan(self, _app: FastAPI) -> AsyncGenerator[dict[str, Any], None]:
        settings = self._settings
        async with AsyncExitStack() as stack:
            renderer = await stack.enter_async_context(TemplateRenderer())
            cache = None
            if settings.cache_url is not None:
                client = http.client(str(settings.cache_url), timeout=settings.cache_timeout_seconds)
                await stack.enter_async_context(client)
                cache = ResponseCache(
                    client, settings.cache_ttl_seconds, settings.cache_timeout_seconds, settings.cache_wait_seconds
                )
            stack.push_async_callback(self._pool.close)
            for model in settings.served_models:
                self._add(model, renderer, cache)
            await stack.enter_async_context(_running(self._start()))
            yield {
                "models": self._models,
                "api_keys": ApiKeys(settings.api_key_list),
                "keep_alive_seconds": settings.keep_alive_seconds,
            }

    async def check_models(self) -> str | None:
        """Ready once the models that have room are loaded and their chat templates are usable."""
        members = self._pool.members.values()
        if not self._has_started:
            loading = [member.name for member in members if member.state is not State.LOADED]
            raise RuntimeError(f"loading {', '.join(loading)}")
        for entry in self._models.entries:
            if entry.card.parent is None and entry.engine.status == State.LOADED.value:
                await entry.chat.check_template()
        failed = [f"{member.name} is not served: {member.failure}" for member in members if member.failure]
        return "; ".join(failed) or None

    def _add(self, model: ServedModel, renderer: TemplateRenderer, cache: ResponseCache | None) -> None:
        source = LlamaSource(self._settings, model, self._native_log, self._on_fatal)
        failure = None
        try:
            source.check()
        except ModelFileError as error:
            failure = str(error)
        member = self._pool.add(source)
        if failure:
            self._pool.fail(member, failure)
        engine = PooledEngine(self._pool, member, model.slots, model.chat_template)
        metrics.ENGINES.watch(engine, model.name)
        card = ModelCard(id=model.name, created=int(model.path.stat().st_mtime))
        self._models.add(Entry(card, engine, Chat(engine, cache, model.name, renderer)))
        for adapter in model.adapters:
            file = adapter.path.stat()
            identity = f"{adapter.path}:{file.st_size}:{file.st_mtime_ns}:{adapter.scale}"
            adapted = AdaptedEngine(engine, adapter.name, digest_of(identity))
            card = ModelCard(id=adapter_id(model.name, adapter.name), created=int(file.st_mtime), parent=model.name)
            self._models.add(Entry(card, adapted, Chat(adapted, cache, card.id, renderer)))

    async def _start(self) -> None:
        # A full collection goes through all that stays, too, which holds up streams and computation for 50 ms. The
        # models aren't there yet: what is left of one that is unloaded has to be found.
        gc.collect()
        gc.freeze()
        await self._pool.load_first()
        members = self._pool.members.values()
        if all(member.state is State.FAILED for member in members):
            self._on_fatal("; ".join(member.failure for member in members))
        self._has_started = True


@asynccontextmanager
async def _running(work: Any) -> AsyncGenerator[None, None]:
    """Runs the work beside, and ends it when this is left."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def build_app(settings: ModelSettings, native_log: NativeLog, on_fatal: Callable[[str], None]) -> FastAPI:
    """``on_fatal`` is called with one line, perhaps from another thread, if no model can be served or go on."""
    runtime = Runtime(settings, native_log, on_fatal)
    return create_app(
        service=SERVICE,
        version=VERSION,
        max_body_bytes=settings.max_body_bytes,
        routers=[models.router, chat.router, completions.router, responses.router, embeddings.router, tokens.router],
        lifespan=runtime.lifespan,
        checks={"model": runtime.check_models},
    )
