"""One entry: put, get, head, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response

from cache_service.routes.dependencies import Settings, Store
from cache_service.schemas import KEY_PATTERN
from cache_service.store import MAX_CONTENT_TYPE_BYTES, EntryInfo
from service_kit.errors import ApiError

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

router = APIRouter(prefix="/v1/entries", tags=["entries"])
Key = Annotated[str, Path(pattern=KEY_PATTERN)]


@router.put("/{key}", status_code=204, openapi_extra=_RAW_BODY)
async def put_entry(
    key: Key,
    request: Request,
    store: Store,
    settings: Settings,
    ttl: Annotated[int | None, Header(alias=TTL_HEADER, ge=1)] = None,
    content_type: Annotated[str, Header(max_length=MAX_CONTENT_TYPE_BYTES)] = "application/octet-stream",
) -> None:
    """Stores the body under the key, in place of what was there; it is given back as it came."""
    if ttl is not None and ttl > settings.max_ttl:
        message = f"{TTL_HEADER}: {ttl} is over the maximum of {settings.max_ttl} seconds"
        raise ApiError(400, message, param=TTL_HEADER, code="invalid_value")
    await store.put(key, await request.body(), content_type, ttl or settings.default_ttl)


@router.get("/{key}", response_class=Response, responses=_FOUND)
async def get_entry(key: Key, store: Store) -> Response:
    """The entry's bytes, with the content type that they were put with."""
    entry = await store.get(key)
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


def _headers(info: EntryInfo) -> dict[str, str]:
    return {
        "Content-Type": info.content_type,
        "Content-Length": str(info.size),
        TTL_HEADER: str(info.ttl),
    }


def _not_found(key: str) -> ApiError:
    return ApiError(404, f"There is no entry {key}", param="key", code="entry_not_found")
