"""Files: put, get, head, delete, list."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service_kit.errors import ApiError, ErrorBody
from storage_service.conditions import Conditions, etag
from storage_service.digests import announced_digests, repr_digest
from storage_service.entries import Entry
from storage_service.errors import BadHeader, ConditionFailed
from storage_service.ranges import parse_range
from storage_service.schemas import FileInfo, FileList
from storage_service.store import OpenFile, Store
from storage_service.transfer import SenderGone, Transfers, Upload

DEFAULT_CONTENT_TYPE = "application/octet-stream"
_CONTENT_TYPE = re.compile(r"[!-~][ -~]{0,254}")
# A PUT with one of these would store something else than the bytes of the file.
_UNSUPPORTED = {
    "content-range": "a file is uploaded as a whole",
    "content-encoding": "send the file's own bytes",
}

router = APIRouter(
    prefix="/v1/files",
    tags=["files"],
    responses={status: {"model": ErrorBody} for status in (400, 404, 412, 500)},
)
_BYTES = {"content": {DEFAULT_CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}}}


@router.get("", response_model=FileList)
async def list_files(
    request: Request,
    prefix: Annotated[str, Query(max_length=1024, description="Only paths that begin with it")] = "",
    after: Annotated[str, Query(max_length=1024, description="Only paths that sort after it")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> FileList:
    """A page of the files, in the order of their paths."""
    transfers, store = _parts(request)
    entries = await transfers.call(store.page, prefix, after, limit + 1)
    files = [FileInfo.model_validate(entry) for entry in entries[:limit]]
    return FileList(files=files, next_after=files[-1].path if len(entries) > limit else None)


@router.put(
    "/{path:path}",
    response_model=FileInfo,
    responses={
        201: {"model": FileInfo, "description": "The file is new"},
        **{status: {"model": ErrorBody} for status in (408, 413, 422, 507)},
    },
    openapi_extra={"requestBody": {"required": True, **_BYTES}},
)
async def put_file(path: str, request: Request, response: Response) -> Entry:
    """Stores the request's body under the path: whole and with the announced sha256, or not at all.

    The sha256 may be announced in X-Content-SHA256 (hexadecimal), Content-Digest, Repr-Digest or Digest.
    """
    transfers, _ = _parts(request)
    body = _Body(request)
    try:
        entry, is_new = await transfers.receive(_upload(path, request), body.chunks())
    except ApiError as error:
        if not body.complete:
            # Rather than read the rest of the body for nothing.
            error.headers = {**(error.headers or {}), "Connection": "close"}
        raise
    response.status_code = 201 if is_new else 200
    response.headers["ETag"] = etag(entry.sha256)
    return entry


@router.get(
    "/{path:path}",
    response_class=Response,
    responses={200: _BYTES, 206: _BYTES, 304: {}, 416: {"model": ErrorBody}},
)
async def get_file(path: str, request: Request) -> Response:
    """The file, or the one byte range of it that the request asks for."""
    transfers, store = _parts(request)
    file: OpenFile = await transfers.call(store.open, path)
    try:
        entry = file.entry
        headers = _headers(entry)
        if _is_known(entry, request):
            file.close()
            return Response(status_code=304, headers=headers)
        if_range = request.headers.get("if-range")
        wanted = request.headers.get("range") if if_range in (None, etag(entry.sha256)) else None
        part = parse_range(wanted, entry.size)
    except ApiError:
        file.close()
        raise
    if part is None:
        part, status = range(entry.size), 200
    else:
        status = 206
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{entry.size}"
    headers["Content-Length"] = str(len(part))
    return _Download(transfers, file, part, status, headers)


@router.head("/{path:path}", response_class=Response, responses={304: {}})
async def head_file(path: str, request: Request) -> Response:
    """What GET would say of the whole file."""
    transfers, store = _parts(request)
    entry: Entry = await transfers.call(store.entry, path)
    headers = _headers(entry)
    if _is_known(entry, request):
        return Response(status_code=304, headers=headers)
    return Response(headers={**headers, "Content-Length": str(entry.size)})


@router.delete("/{path:path}", status_code=204)
async def delete_file(path: str, request: Request) -> None:
    """Ends the name; downloads of it that are under way finish."""
    transfers, _ = _parts(request)
    await transfers.delete(path, _conditions(request))


class _Body:
    """The body of a request, and whether all of it has come."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.complete = False

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._request.stream():
                yield chunk
        except ClientDisconnect as error:
            raise SenderGone from error
        self.complete = True


class _Download(StreamingResponse):
    """Sends a part of an open file and closes it, even when the client has gone."""

    def __init__(self, transfers: Transfers, file: OpenFile, part: range, status: int, headers: dict[str, str]) -> None:
        super().__init__(transfers.send(file, part), status_code=status, headers=headers)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


def _parts(request: Request) -> tuple[Transfers, Store]:
    return request.state.transfers, request.state.store


def _upload(path: str, request: Request) -> Upload:
    headers = request.headers
    for header, instead in _UNSUPPORTED.items():
        if header in headers:
            raise BadHeader(header.title(), f"not supported; {instead}")
    content_type = headers.get("content-type", DEFAULT_CONTENT_TYPE)
    if not _CONTENT_TYPE.fullmatch(content_type):
        raise BadHeader("Content-Type", "must be 1 to 255 printable ASCII characters")
    size = headers.get("content-length")
    return Upload(
        name=path,
        size=int(size) if size is not None else None,
        digests=frozenset(announced_digests(headers)),
        content_type=content_type,
        conditions=_conditions(request),
    )


def _conditions(request: Request) -> Conditions:
    return Conditions(request.headers.get("if-match"), request.headers.get("if-none-match"))


def _is_known(entry: Entry, request: Request) -> bool:
    """Whether the client has this content already; ConditionFailed when If-Match refuses it."""
    conditions, tag = _conditions(request), etag(entry.sha256)
    if conditions.match_fails(tag):
        raise ConditionFailed(entry.path, tag)
    return conditions.none_match_fails(tag)


def _headers(entry: Entry) -> dict[str, str]:
    return {
        "Content-Type": entry.content_type,
        "ETag": etag(entry.sha256),
        "Repr-Digest": repr_digest(entry.sha256),
        "Accept-Ranges": "bytes",
        # A stored page or script must not act in a browser with the rights of the gateway's own pages.
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
    }
