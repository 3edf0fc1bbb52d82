"""What routes get from the application's lifespan."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from cache_service.settings import CacheSettings
from cache_service.store import EntryStore


def _store(request: Request) -> EntryStore:
    store: EntryStore = request.state.store
    return store


def _settings(request: Request) -> CacheSettings:
    settings: CacheSettings = request.state.settings
    return settings


Store = Annotated[EntryStore, Depends(_store)]
Settings = Annotated[CacheSettings, Depends(_settings)]
