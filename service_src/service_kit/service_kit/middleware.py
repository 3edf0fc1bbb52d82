"""What happens around every request: its id, its access log line, its metrics, its size limit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service_kit import metrics
from service_kit.errors import ApiError, error_response
from service_kit.logs import request_id_var

REQUEST_ID_HEADER = "X-Request-Id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_PREFIX = re.compile(r"(/[A-Za-z0-9._-]+)+")
_QUIET_PATHS = ("/health/", "/metrics")
_DROPPED_BYTES = 16 << 20
_DROP_SECONDS = 5.0

access_log = logging.getLogger("access")
log = logging.getLogger(__name__)


class RequestContext:
    """Gives each request an id (the caller's, if it sent a fit one), logs and counts its outcome.

    An exception that no handler took becomes a 500 in the common form. If the answer had begun,
    the exception goes on to the web server, which cuts the connection: the client must not take
    half an answer for a whole one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        token = request_id_var.set(request_id)
        status = 0
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        metrics.REQUESTS_IN_FLIGHT.inc()
        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            log.exception("unhandled error")
            if status:
                raise
            message = f"Internal error; the service's log has the details under request id {request_id}"
            await error_response(500, message)(scope, receive, send_with_id)
        finally:
            metrics.REQUESTS_IN_FLIGHT.dec()
            self._record(scope, status, time.perf_counter() - started)
            request_id_var.reset(token)

    @staticmethod
    def _record(scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        metrics.REQUESTS.labels(scope["method"], route, str(status)).inc()
        metrics.REQUEST_DURATION.labels(scope["method"], route).observe(seconds)
        level = logging.DEBUG if scope["path"].startswith(_QUIET_PATHS) else logging.INFO
        fields = {
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "duration_ms": round(seconds * 1000, 1),
        }
        access_log.log(level, "request", extra=fields)


class ForwardedPrefix:
    """Makes the links of /docs and /openapi.json right behind a gateway that stripped a path prefix."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            prefix = Headers(scope=scope).get("X-Forwarded-Prefix", "")
            if _PREFIX.fullmatch(prefix):
                # As ASGI has it: the path holds the root path, which routing takes off again.
                scope["root_path"] = prefix
                scope["path"] = prefix + scope["path"]
        await self._app(scope, receive, send)


class BodyLimit:
    """Refuses a request body over ``limit`` bytes with a 413, before or while it is read.

    Many clients read the answer only once they have sent all. So the rest of a body that is not
    much too large is read and dropped; of a larger one the connection is cut.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._limit:
            # To read is to ask a client that waits for "100 Continue" for its body.
            if int(declared) <= self._limit + _DROPPED_BYTES and "expect" not in headers:
                await _drop(receive)
            too_large = self._too_large()
            response = error_response(413, str(too_large), code=too_large.code, headers=too_large.headers)
            await response(scope, receive, send)
            return
        received = 0

        async def limited_receive() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self._limit:
                    if message.get("more_body", False):
                        await _drop(receive)
                    raise self._too_large()
            return message

        await self._app(scope, limited_receive, send)

    def _too_large(self) -> ApiError:
        return ApiError(
            413,
            f"The request body is over the limit of {self._limit} bytes",
            code="body_too_large",
            headers={"Connection": "close"},
        )


async def _drop(receive: Receive) -> None:
    """Reads what is left of a body, within bounds of size and time."""
    dropped = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DROP_SECONDS):
            while dropped <= _DROPPED_BYTES:
                message = await receive()
                dropped += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
