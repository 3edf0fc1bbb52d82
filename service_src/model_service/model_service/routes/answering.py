"""How the APIs that generate answer: whole or as a stream, from the cache or the engine, to a client that may go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import Request, Response
from starlette.responses import JSONResponse, StreamingResponse

from model_service import sse
from model_service.answers import Answer, Header
from model_service.engine import EngineError, Finished
from model_service.errors import to_api_error
from model_service.generation import Generator
from model_service.merge import Batch
from model_service.parameters import first_unsupported
from model_service.reply import Plan, Reply
from service_kit.errors import ApiError, error_body

log = logging.getLogger(__name__)

Result = TypeVar("Result")
CLIENT_CLOSED_REQUEST = 499  # nobody reads it; it is for the log and the metrics
# Proxies that buffer answers make an exception for the last header.
_STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class ClientGoneError(Exception):
    """Nobody reads the answer any more."""


def refuse_unsupported(unknown: Mapping[str, Any]) -> None:
    """Raises the error that names the first of the fields that asks for something this service can't do."""
    unsupported = first_unsupported(unknown)
    if unsupported is not None:
        name = unsupported.encode(errors="replace").decode()[:100]  # it may hold half a surrogate pair
        message = f"{name} is not supported by this server"
        raise ApiError(400, message, param=name, code="unsupported_parameter")


async def answer(
    request: Request,
    generator: Generator,
    plan: Plan,
    *,
    whole: Callable[[Answer], dict[str, Any]],
    stream: Callable[[Header], sse.StreamForm] | None,
) -> Response:
    """The plan's answer as ``whole`` makes it, or as ``stream`` does, if given."""
    reply = generator.reply(plan)
    try:
        if stream is not None:
            return await _stream(request, reply, _Encoder(stream, reply))
        answer = await unless_gone(request, reply.whole())
        return JSONResponse(whole(answer), headers=_cache_header(reply))
    except EngineError as error:
        raise to_api_error(error, plan.prompt_field, plan.grammar_field) from error
    except ClientGoneError:
        return Response(status_code=CLIENT_CLOSED_REQUEST)


def _cache_header(reply: Reply) -> dict[str, str]:
    return {"X-Cache": reply.status}


class _Encoder:
    """A stream's bytes: what a batch of events makes, and what follows once all choices have ended."""

    def __init__(self, make_form: Callable[[Header], sse.StreamForm], reply: Reply) -> None:
        self._make_form = make_form
        self._form: sse.StreamForm | None = None
        self._reply = reply
        self._plan = reply.plan
        self._ends: dict[int, Finished] = {}

    def encode(self, batch: Batch) -> bytes:
        if not batch:
            return sse.KEEP_ALIVE
        form = self._made_form()
        encoded = form.encode(batch)
        for index, event in batch:
            if isinstance(event, Finished):
                self._ends[index] = event
        if len(self._ends) < len(self._plan.requests):
            return encoded
        return encoded + form.end([self._ends[index] for index in sorted(self._ends)])

    def error(self, error: Exception) -> bytes:
        if isinstance(error, EngineError):
            error = to_api_error(error, self._plan.prompt_field, self._plan.grammar_field)
        if not isinstance(error, ApiError):
            error = ApiError(500, "Internal error; the service's log has the details")
        body = error_body(error.status, str(error), error.param, error.code)
        return self._made_form().error(body.model_dump())

    def _made_form(self) -> sse.StreamForm:
        """Made once there are events: until then it isn't known whose answer it is."""
        if self._form is None:
            self._form = self._make_form(self._reply.header)
        return self._form


async def _stream(request: Request, reply: Reply, encoder: _Encoder) -> Response:
    """Waits for the first events or pause before it answers, so that an early error has its own status."""
    batches = reply.batches(request.state.keep_alive_seconds)
    try:
        first = await unless_gone(request, anext(batches))
    except BaseException:
        await batches.aclose()
        raise
    headers = _cache_header(reply) | _STREAM_HEADERS
    return StreamingResponse(_encoded(encoder, first, batches), media_type="text/event-stream", headers=headers)


async def _encoded(
    encoder: _Encoder, first: Batch, batches: AsyncGenerator[Batch, None]
) -> AsyncGenerator[bytes, None]:
    async with aclosing(batches):
        try:
            yield encoder.encode(first)
            async for batch in batches:
                # Nothing is sent for a token that is half a character.
                if encoded := encoder.encode(batch):
                    yield encoded
        except EngineError as error:
            yield encoder.error(error)
        except Exception as error:
            log.exception("stream failed")
            yield encoder.error(error)


async def unless_gone(request: Request, work: Awaitable[Result]) -> Result:
    """The work's result; if the client hangs up first, the work is cancelled and ClientGoneError raised."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGoneError
        return task.result()
    finally:
        for unfinished in (task, gone):
            unfinished.cancel()
        await asyncio.wait({task, gone})


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
