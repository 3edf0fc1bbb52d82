"""The application: its routes, its readiness, and what lives as long as the process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI

from cache_service import VERSION
from cache_service.errors import StoreUnavailable
from cache_service.routes import admin, entries
from cache_service.settings import CacheSettings
from cache_service.store import EntryStore
from service_kit.app import create_app

SERVICE = "cache-service"
GAUGES_EVERY_SECONDS = 5.0


def build_app(settings: CacheSettings) -> FastAPI:
    store = EntryStore.from_settings(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        watcher = asyncio.create_task(_watch(store))
        try:
            yield {"store": store, "settings": settings}
        finally:
            watcher.cancel()
            await store.close()

    return create_app(
        service=SERVICE,
        version=VERSION,
        max_body_bytes=settings.max_entry_bytes,
        routers=[entries.router, admin.router],
        lifespan=lifespan,
        checks={"redis": store.ping},
    )


async def _watch(store: EntryStore) -> None:
    """Keeps the gauges fresh, and says in the log when Redis goes and when it comes back."""
    while True:
        with contextlib.suppress(StoreUnavailable):  # the store has logged and counted it
            await store.stats()
        await asyncio.sleep(GAUGES_EVERY_SECONDS)
