"""Chat completions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import TypeVar

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse, StreamingResponse

from model_service import sse
from model_service.answers import Answer, Chunk
from model_service.chat import Plan
from model_service.chat_template import TemplateError
from model_service.engine import EngineError
from model_service.errors import to_api_error
from model_service.parameters import first_unsupported
from model_service.routes.auth import Tenant
from model_service.routes.models import models_of
from model_service.schemas import ChatCompletion, ChatRequest
from service_kit.errors import ApiError, error_response

router = APIRouter(prefix="/v1", tags=["chat"])
log = logging.getLogger(__name__)

Result = TypeVar("Result")
_CLIENT_CLOSED_REQUEST = 499  # nobody reads it; it is for the log and the metrics


class _ClientGoneError(Exception):
    pass


@router.post(
    "/chat/completions",
    response_model=ChatCompletion,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def create_chat_completion(body: ChatRequest, request: Request, tenant: Tenant) -> Response:
    """The model's answer to a conversation, whole or as a stream of server-sent events."""
    chat = models_of(request).chat(body.model)
    unsupported = first_unsupported(body.model_extra or {})
    if unsupported is not None:
        name = unsupported.encode(errors="replace").decode()[:100]  # it may hold half a surrogate pair
        message = f"{name} is not supported by this server"
        raise ApiError(400, message, param=name, code="unsupported_parameter")
    try:
        plan, answer, status = await chat.look_up(await chat.plan(body, tenant))
        headers = {"X-Cache": str(status)}
        if body.stream:
            chunks = _replay(answer, plan) if answer else chat.stream(plan)
            return await _stream(request, chunks, headers)
        if answer is None:
            answer = await _unless_gone(request, chat.complete(plan))
        return JSONResponse(answer.completion().model_dump(), headers=headers)
    except (EngineError, TemplateError) as error:
        raise to_api_error(error) from error
    except _ClientGoneError:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)


async def _replay(answer: Answer, plan: Plan) -> AsyncGenerator[Chunk, None]:
    for chunk in answer.chunks(plan.include_usage):
        yield chunk


async def _stream(request: Request, chunks: AsyncGenerator[Chunk, None], headers: dict[str, str]) -> Response:
    """Waits for the first chunk or pause before it answers, so that an early error has its own status."""
    items = sse.with_pauses(chunks, request.state.keep_alive_seconds)
    try:
        first = await _unless_gone(request, anext(items))
    except BaseException:
        await items.aclose()
        raise
    # Proxies that buffer answers make an exception for this header.
    headers = {**headers, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(_encoded(first, items), media_type="text/event-stream", headers=headers)


async def _encoded(first: Chunk | None, items: AsyncGenerator[Chunk | None, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(items):
        try:
            yield _encode(first)
            async for item in items:
                yield _encode(item)
        except EngineError as error:
            yield _error_event(to_api_error(error))
        except Exception:
            log.exception("stream failed")
            yield _error_event(ApiError(500, "Internal error; the service's log has the details"))
        else:
            yield sse.DONE


def _encode(item: Chunk | None) -> bytes:
    return sse.KEEP_ALIVE if item is None else sse.event(item)


def _error_event(error: ApiError) -> bytes:
    response = error_response(error.status, str(error), error.param, error.code)
    return b"data: " + bytes(response.body) + b"\n\n"


async def _unless_gone(request: Request, work: Awaitable[Result]) -> Result:
    """The work's result; if the client hangs up first, the work is cancelled and _ClientGoneError raised."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise _ClientGoneError
        return task.result()
    finally:
        for unfinished in (task, gone):
            unfinished.cancel()
        await asyncio.wait({task, gone})


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
