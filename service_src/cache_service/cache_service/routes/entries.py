"""One entry: put, get or wait for it, head, delete, and the lease on its key."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response

from cache_service.leases import LeaseState
from cache_service.routes.dependencies import Settings, Store
from cache_service.schemas import KEY_PATTERN, OWNER_PATTERN
from cache_service.store import MAX_CONTENT_TYPE_BYTES, EntryInfo
from service_kit.errors import ApiError, ErrorBody

MAX_WAIT_MS = 10_000
MAX_LEASE_MS = 60_000
TTL_HEADER = "X-TTL-Seconds"
_RAW_BODY: dict[str, Any] = {
    "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}
_FOUND: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        "headers": {TTL_HEADER: {"schema": {"type": "integer"}, "description": "Seconds it has left"}},
    },
}
_NOT_GRANTED: dict[int | str, dict[str, Any]] = {
    409: {
        "model": ErrorBody,
        "description": "`lease_held`: another owner has it, wait for the entry. `entry_exists`: get the entry",
    },
}

router = APIRouter(prefix="/v1/entries", tags=["entries"])
Key = Annotated[str, Path(pattern=KEY_PATTERN)]
Owner = Annotated[
    str, Query(pattern=OWNER_PATTERN, description="What its owner is known by: chosen at random, one for each lease")
]


@router.put("/{key}", status_code=204, openapi_extra=_RAW_BODY)
async def put_entry(
    key: Key,
    request: Request,
    store: Store,
    settings: Settings,
    ttl: Annotated[int | None, Header(alias=TTL_HEADER, ge=1)] = None,
    content_type: Annotated[str, Header(max_length=MAX_CONTENT_TYPE_BYTES)] = "application/octet-stream",
) -> None:
    """Stores the body under the key, in place of what was there; it is given back as it came.

    It ends the lease on the key, so whoever waits for the entry gets it.
    """
    if ttl is not None and ttl > settings.max_ttl:
        message = f"{TTL_HEADER}: {ttl} is over the maximum of {settings.max_ttl} seconds"
        raise ApiError(400, message, param=TTL_HEADER, code="invalid_value")
    await store.put(key, await request.body(), content_type, ttl or settings.default_ttl)


@router.get("/{key}", response_class=Response, responses=_FOUND)
async def get_entry(
    key: Key,
    store: Store,
    wait_ms: Annotated[
        int, Query(ge=0, le=MAX_WAIT_MS, description="How long to wait for the entry while somebody has its lease")
    ] = 0,
) -> Response:
    """The entry's bytes, with the content type that they were put with.

    With `wait_ms`, an entry that isn't there is waited for: the answer comes once it is put, once nobody has the lease
    on its key any more, or after that time; the last two are a 404. Without a lease nothing is waited for.
    """
    entry = await (store.wait(key, wait_ms / 1000) if wait_ms else store.get(key))
    if entry is None:
        raise _not_found(key)
    return Response(entry.content, headers=_headers(entry.info))


@router.head("/{key}", response_class=Response)
async def head_entry(key: Key, store: Store) -> Response:
    """The headers that a GET would have; counts neither as a hit nor as a miss."""
    info = await store.head(key)
    if info is None:
        raise _not_found(key)
    return Response(headers=_headers(info))


@router.delete("/{key}", status_code=204)
async def delete_entry(key: Key, store: Store) -> None:
    """Removes the entry. An absent one is no error: it may have expired a moment ago."""
    await store.delete(key)


@router.post("/{key}/lease", status_code=204, responses=_NOT_GRANTED)
async def acquire_lease(
    key: Key,
    store: Store,
    owner: Owner,
    ttl_ms: Annotated[int, Query(ge=100, le=MAX_LEASE_MS, description="Milliseconds until it ends by itself")] = 5000,
) -> None:
    """Takes the lease on an entry's key, or prolongs it: of several that need the entry, its owner makes it.

    Its owner puts the entry, which ends the lease, and asks again for as long as that takes: so a lease may be short,
    and an owner that dies holds others up for no longer than that. The lease keeps nobody from putting the entry.
    """
    state = await store.acquire_lease(key, owner, ttl_ms)
    if state is LeaseState.HELD:
        raise ApiError(409, f"The lease on {key} is another owner's", param="key", code="lease_held")
    if state is LeaseState.STORED:
        raise ApiError(409, f"There is an entry {key}", param="key", code="entry_exists")


@router.delete("/{key}/lease", status_code=204)
async def release_lease(key: Key, store: Store, owner: Owner) -> None:
    """Ends the owner's lease without an entry: the next one may make it. One that is over or another's is no error."""
    await store.release_lease(key, owner)


def _headers(info: EntryInfo) -> dict[str, str]:
    return {
        "Content-Type": info.content_type,
        "Content-Length": str(info.size),
        TTL_HEADER: str(info.ttl),
    }


def _not_found(key: str) -> ApiError:
    return ApiError(404, f"There is no entry {key}", param="key", code="entry_not_found")
