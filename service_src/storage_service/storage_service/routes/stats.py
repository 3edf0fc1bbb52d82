"""How much is stored, and how much room is left."""

from __future__ import annotations

from fastapi import APIRouter, Request

from storage_service.schemas import Stats
from storage_service.settings import StorageSettings
from storage_service.store import Store
from storage_service.transfer import Transfers

router = APIRouter(prefix="/v1", tags=["stats"])


@router.get("/stats")
async def stats(request: Request) -> Stats:
    """Files, their sizes, and the space on the volume."""
    transfers: Transfers = request.state.transfers
    store: Store = request.state.store
    settings: StorageSettings = request.state.settings
    usage = await transfers.call(store.usage)
    space = await transfers.call(store.space)
    return Stats(
        files=usage.files,
        bytes=usage.bytes,
        free_bytes=space.free,
        reserve_bytes=settings.min_free_bytes,
        total_bytes=space.total,
    )
