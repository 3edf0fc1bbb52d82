"""The cache as a whole: stats and purge."""

from __future__ import annotations

from fastapi import APIRouter

from cache_service.routes.dependencies import Store
from cache_service.schemas import Purged, PurgeRequest, Stats

router = APIRouter(prefix="/v1", tags=["cache"])


@router.get("/stats")
async def stats(store: Store) -> Stats:
    """How full and how useful the cache is."""
    return await store.stats()


@router.post("/purge")
async def purge(store: Store, which: PurgeRequest | None = None) -> Purged:
    """Removes all entries, or those whose key begins with a prefix."""
    return Purged(removed=await store.purge((which or PurgeRequest()).prefix))
