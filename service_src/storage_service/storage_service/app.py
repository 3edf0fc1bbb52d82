"""The application: the store on its volume, behind the routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI
from prometheus_client import REGISTRY

from service_kit import app as kit
from storage_service import __version__
from storage_service.metrics import StoreCollector
from storage_service.routes import files, stats
from storage_service.settings import StorageSettings
from storage_service.store import Store
from storage_service.transfer import Transfers

SERVICE = "storage-service"


class State(TypedDict):
    """What every request finds in its ``request.state``."""

    settings: StorageSettings
    store: Store
    transfers: Transfers


def create_app(settings: StorageSettings, store: Store) -> FastAPI:
    transfers = Transfers(store, settings.io_threads, settings.upload_idle_seconds)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
        collector = StoreCollector(store)
        REGISTRY.register(collector)
        try:
            yield State(settings=settings, store=store, transfers=transfers)
        finally:
            REGISTRY.unregister(collector)

    async def volume_answers() -> None:
        # A full or write-protected volume is still ready: what it holds can be read, and an upload
        # gets its own clear refusal.
        await transfers.call(store.space)

    return kit.create_app(
        service=SERVICE,
        version=__version__,
        max_body_bytes=settings.max_file_bytes,
        routers=[files.router, stats.router],
        lifespan=lifespan,
        checks={"volume": volume_answers},
    )
